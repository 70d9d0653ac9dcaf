//! Compressed files.

use vdm_compress::{
    Archive, Cells, Chain, Header, LatentLevels, Latents, Layers, Origin, Settings, sha256,
};

use super::{Kind, Target, Verdict, document, verdict};

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target {
            name: "vdmz",
            kind: Kind::Bytes,
            corpus: || archives().iter().map(|a| a.to_bytes().expect("a legal file")).collect(),
            check: |_, input| {
                // As it is, and with a checksum that fits: a forger would write one.
                let repaired = input.split_last_chunk::<32>().map(|(content, _)| {
                    let text = sha256(content);
                    let byte = |i: usize| u8::from_str_radix(&text[2 * i..2 * i + 2], 16);
                    let checksum = (0..32).map(|i| byte(i).expect("hexadecimal digits"));
                    content.iter().copied().chain(checksum).collect::<Vec<u8>>()
                });
                repaired.map_or(Verdict::Refused, |repaired| archive(&repaired)).max(archive(input))
            },
        },
        Target {
            name: "vdmz_header",
            kind: Kind::Json,
            corpus: || {
                let header = |a: &Archive| serde_json::to_vec(&a.header).expect("a legal header");
                archives().iter().map(header).collect()
            },
            check: |_, input| document::<Header>(input, |_| ()),
        },
    ]
}

/// What is read can be written, and is then the same.
fn archive(input: &[u8]) -> Verdict {
    let read = Archive::from_bytes(input);
    if let Ok(archive) = &read {
        let again = archive.to_bytes().expect("what was read can be written");
        assert_eq!(&Archive::from_bytes(&again).expect("what was written can be read"), archive);
    }
    verdict(&read)
}

fn archives() -> Vec<Archive> {
    let chain = |levels| Latents::Chain(Chain { steps: 4, levels, cells_per_std: Settings::CELLS });
    let latents = [
        chain(LatentLevels::UniformTime),
        chain(LatentLevels::LogSnrs(vec![-5.0, -2.0, 0.5, 3.0, 13.0])),
        Latents::Layers(Layers { cells: vec![Cells { log2_width: -6, edge: 900 }; 3], growth: 20 }),
    ];
    let header = |latents| Header {
        model_sha256: sha256(b"model"),
        origin: Origin {
            engine: "vdm 0.1.0, libtorch 2.11.0".into(),
            device: "cpu".into(),
            threads: 2,
            checkpoint: 8000,
        },
        settings: Settings { batch: 64, latents },
        items: 3,
        shape: [1, 8, 8],
        levels: 17,
        pixels_sha256: sha256(b"pixels"),
        words: 5,
    };
    let words = vec![1, u64::MAX, 0x0123_4567_89ab_cdef, 1 << 63, 0];
    latents.map(|latents| Archive { header: header(latents), words: words.clone() }).into()
}
