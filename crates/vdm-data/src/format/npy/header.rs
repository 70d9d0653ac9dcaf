//! The header of a `.npy` file: a Python dictionary literal of three entries.
//!
//! ```text
//! {'descr': '|u1', 'fortran_order': False, 'shape': (1797, 8, 8), }
//! ```
//!
//! Parsed here because it is one page of code over at most 64 KiB, where general readers of
//! Python literals recurse as deep, and allocate as much, as the file tells them to.

/// `NumPy`'s own limit on the number of sizes.
const MAX_SIZES: usize = 64;

/// What a header says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// `NumPy`'s name of the type, such as `|u1`.
    pub(super) descr: String,
    pub(super) fortran_order: bool,
    pub(super) shape: Vec<u64>,
}

impl Header {
    /// Parses the text; the error says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut cursor = Cursor { rest: text };
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        cursor.expect("{")?;
        while !cursor.eat("}") {
            let key = cursor.string()?;
            cursor.expect(":")?;
            match key {
                "descr" => descr = Some(cursor.descr()?),
                "fortran_order" => fortran_order = Some(cursor.boolean()?),
                "shape" => shape = Some(cursor.sizes()?),
                other => return Err(format!("unknown key '{}'", excerpt(other))),
            }
            if !cursor.eat(",") {
                cursor.expect("}")?;
                break;
            }
        }
        if !cursor.rest.trim_ascii().is_empty() {
            return Err(format!("text after the dictionary: {}", excerpt(cursor.rest)));
        }
        Ok(Self {
            descr: descr.ok_or("no key 'descr'")?.into(),
            fortran_order: fortran_order.ok_or("no key 'fortran_order'")?,
            shape: shape.ok_or("no key 'shape'")?,
        })
    }
}

struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn eat(&mut self, token: &str) -> bool {
        self.rest = self.rest.trim_ascii_start();
        let after = self.rest.strip_prefix(token);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.eat(token) { Ok(()) } else { Err(self.expected(token)) }
    }

    fn expected(&self, what: &str) -> String {
        format!("expected {what} at {}", excerpt(self.rest))
    }

    /// A quoted string without escapes, of either kind that Python 2 had.
    fn string(&mut self) -> Result<&'a str, String> {
        self.rest = self.rest.trim_ascii_start();
        let unprefixed = self.rest.trim_start_matches(['u', 'U', 'b', 'B']);
        if self.rest.len() - unprefixed.len() == 1 && unprefixed.starts_with(['\'', '"']) {
            self.rest = unprefixed;
        }
        for quote in ["'", "\""] {
            if self.eat(quote) {
                let Some((text, rest)) = self.rest.split_once(quote) else {
                    return Err(self.expected("the end of a string"));
                };
                self.rest = rest;
                return Ok(text);
            }
        }
        Err(self.expected("a string"))
    }

    /// The type, which for records of several fields is a list.
    fn descr(&mut self) -> Result<&'a str, String> {
        if self.eat("[") {
            return Err("a structured type (several fields); save one plain array".into());
        }
        self.string()
    }

    fn boolean(&mut self) -> Result<bool, String> {
        if self.eat("True") {
            return Ok(true);
        }
        if self.eat("False") { Ok(false) } else { Err(self.expected("True or False")) }
    }

    fn sizes(&mut self) -> Result<Vec<u64>, String> {
        let mut sizes = Vec::new();
        self.expect("(")?;
        while !self.eat(")") {
            if sizes.len() == MAX_SIZES {
                return Err(format!("more than {MAX_SIZES} sizes"));
            }
            sizes.push(self.integer()?);
            if !self.eat(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(sizes)
    }

    fn integer(&mut self) -> Result<u64, String> {
        self.rest = self.rest.trim_ascii_start();
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        let integer = digits.parse().map_err(|_| self.expected("a size below 2^64"))?;
        // Python 2 marks long integers.
        self.rest = rest.strip_prefix(['L', 'l']).unwrap_or(rest);
        Ok(integer)
    }
}

/// The start of a text, short enough for a message.
pub(super) fn excerpt(text: &str) -> String {
    let start: String = text.chars().take(24).collect();
    format!("`{}`", start.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_all_layouts_parse() {
        for text in [
            "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3, 4), }          \n",
            "{'descr': u'|u1', 'fortran_order': False, 'shape': (2L, 3L, 4L), }",
            "{\"shape\":(2,3,4),\"fortran_order\":False,\"descr\":\"|u1\"}",
            " { 'fortran_order' : False , 'descr' : '|u1' , 'shape' : ( 2 , 3 , 4 , ) , } ",
        ] {
            let expected =
                Header { descr: "|u1".into(), fortran_order: false, shape: vec![2, 3, 4] };
            assert_eq!(Header::parse(text), Ok(expected), "{text}");
        }
        let scalar = Header::parse("{'descr': '<f8', 'fortran_order': True, 'shape': ()}").unwrap();
        assert_eq!((scalar.fortran_order, scalar.shape), (true, vec![]));
    }

    #[test]
    fn what_is_wrong_with_a_header_is_said() {
        for (text, reason) in [
            ("", "expected { at ``"),
            ("{'descr': '|u1', 'fortran_order': False}", "no key 'shape'"),
            ("{'descr': [('a', '<i4')]}", "structured"),
            ("{'shape': (1, -2)}", "expected a size below 2^64 at `-2)}`"),
            ("{'shape': (18446744073709551616,)}", "below 2^64"),
            ("{'fortran_order': 0}", "expected True or False at `0}`"),
            ("{'descr': '|u1", "expected the end of a string"),
            ("{'color': '|u1'}", "unknown key '`color`'"),
            ("{} {}", "text after the dictionary"),
            ("{'shape': (1 2)}", "expected ) at `2)}`"),
        ] {
            let error = Header::parse(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
        let sizes = "1,".repeat(MAX_SIZES + 1);
        let error = Header::parse(&format!("{{'shape': ({sizes})}}")).unwrap_err();
        assert_eq!(error, "more than 64 sizes");
    }
}
