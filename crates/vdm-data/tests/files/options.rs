//! Sources as a configuration names them.

use vdm_data::{DataError, Source, load};

use crate::make::*;

#[test]
fn every_kind_has_its_name_and_unknown_keys_are_refused() {
    let parse = |text: &str| serde_json::from_str::<Source>(text);
    for (text, source) in [
        (r#"{"kind":"digits"}"#, Source::Digits {}),
        (r#"{"kind":"swirl","items":5}"#, Source::Swirl { items: Some(5) }),
        (r#"{"kind":"clusters"}"#, Source::Clusters { items: None }),
        (
            r#"{"kind":"path","path":"p","values":17}"#,
            Source::Path { path: "p".into(), size: None, values: Some(17) },
        ),
    ] {
        assert_eq!(parse(text).unwrap(), source);
        assert_eq!(serde_json::to_string(&source).unwrap(), text);
        let extended = text.replace('}', r#","colour":1}"#);
        let error = parse(&extended).unwrap_err().to_string();
        assert!(error.contains("unknown field `colour`"), "{error}");
    }
}

#[test]
fn levels_bound_the_pixels() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.npy", npy_bytes("(10, 1, 2)", &[0, 16].repeat(10)));
    let path = dir.path().join("a.npy");
    let with =
        |values| load(&Source::Path { path: path.clone(), size: None, values: Some(values) });
    assert_eq!(with(17).unwrap().values, 17);
    let error = with(16).unwrap_err();
    assert!(matches!(error, DataError::PixelRange { found: 16, values: 16, .. }), "{error}");
    for values in [0, 1, 257] {
        assert!(matches!(with(values).unwrap_err(), DataError::Option { name: "values", .. }));
    }
}

#[test]
fn a_size_outside_its_domain_or_of_no_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.npy", npy_bytes("(10, 1, 2)", &[0; 20]));
    let with =
        |path, size| load(&Source::Path { path, size: Some(size), values: None }).unwrap_err();
    let square = dir.path().join("square.npy");
    write(dir.path(), "square.npy", npy_bytes("(10, 2, 2)", &[0; 40]));
    let own = load(&Source::Path { path: square, size: Some(2), values: None }).unwrap();
    assert_eq!((own.shape.height, own.shape.width), (2, 2));
    std::fs::remove_file(dir.path().join("square.npy")).unwrap();
    for error in [
        with(dir.path().join("a.npy"), 32),
        with(dir.path().into(), 0),
        with(dir.path().into(), 4097),
    ] {
        assert!(matches!(error, DataError::Option { name: "size", .. }), "{error}");
    }
}
