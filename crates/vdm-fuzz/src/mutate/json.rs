//! JSON by its tokens: other numbers, other words, entries that go, double or change places.

use serde_json::{Map, Number, Value};

use super::Random;

/// Numbers at which formulas and counts go wrong.
const NUMBERS: [&str; 44] = [
    "0",
    "-0.0",
    "1",
    "-1",
    "2",
    "3",
    "7",
    "10",
    "255",
    "256",
    "257",
    "65535",
    "65536",
    "1000000",
    "1048576",
    "1048577",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "1e16",
    "1e-16",
    "1e38",
    "1e100",
    "1e154",
    "1e300",
    "1e308",
    "1.7976931348623157e308",
    "-1e308",
    "-1e16",
    "1e-5",
    "1e-8",
    "1e-38",
    "1e-300",
    "2.2250738585072014e-308",
    "5e-324",
    "-5e-324",
    "0.5",
    "0.9999999999999999",
    "1.0000000000000002",
];

/// What only a writer that is not JSON's would write.
const WORDS: [&str; 8] = ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "nul", "0x10", "'a'"];

/// Entries beyond which lists are not doubled any more: a corpus of short documents stays one.
const LONG: usize = 1000;

/// The documents of a target, and every text and key in them.
#[derive(Debug, Default)]
pub(super) struct Pool {
    documents: Vec<Value>,
    words: Vec<String>,
}

impl Pool {
    /// # Panics
    /// If a valid input is no JSON.
    pub(super) fn new(corpus: &[Vec<u8>]) -> Self {
        let parse = |text: &Vec<u8>| serde_json::from_slice(text).expect("a corpus of JSON");
        let documents: Vec<Value> = corpus.iter().map(parse).collect();
        let mut words = Vec::new();
        documents.iter().for_each(|document| gather(document, &mut words));
        words.push("a".repeat(300));
        words.push("\u{1b}[31m\u{0}\"\\".into());
        words.sort_unstable();
        words.dedup();
        Self { documents, words }
    }

    pub(super) fn mutated(&self, random: &mut Random) -> Vec<u8> {
        let mut document = random.of(&self.documents).clone();
        let changes = if random.one_in(2) { 1 } else { 1 + random.below(4) };
        for _ in 0..changes {
            let place = random.below(size(&document));
            if let Some(node) = nth(&mut document, place) {
                self.change(node, random);
            }
        }
        let text = document.to_string();
        if random.one_in(16) { misspelled(&text, random) } else { text }.into_bytes()
    }

    fn change(&self, node: &mut Value, random: &mut Random) {
        match node {
            // Most of what matters is in numbers.
            Value::Number(number) if !random.one_in(8) => *node = other_number(number, random),
            Value::String(_) if random.one_in(2) => *node = random.of(&self.words).clone().into(),
            Value::Array(list) if !list.is_empty() && !random.one_in(4) => array(list, random),
            Value::Object(map) if !map.is_empty() && !random.one_in(4) => self.object(map, random),
            _ => *node = self.anything(random),
        }
    }

    /// Another node of any document, or a value of any type.
    fn anything(&self, random: &mut Random) -> Value {
        match random.below(8) {
            0 => Value::Null,
            1 => Value::Bool(random.one_in(2)),
            2 => Value::Array(vec![]),
            3 => Value::Object(Map::new()),
            4 => random.of(&self.words).clone().into(),
            5 => number(random.of::<&str>(&NUMBERS)),
            _ => {
                let mut document = random.of(&self.documents).clone();
                let place = random.below(size(&document));
                nth(&mut document, place).map_or(Value::Null, Value::take)
            }
        }
    }

    fn object(&self, map: &mut Map<String, Value>, random: &mut Random) {
        let keys: Vec<String> = map.keys().cloned().collect();
        let key = random.of(&keys).clone();
        match random.below(4) {
            0 => drop(map.remove(&key)),
            1 => {
                let value = map.remove(&key).unwrap_or_default();
                map.insert(random.of(&self.words).clone(), value);
            }
            2 => drop(map.insert(random.of(&self.words).clone(), self.anything(random))),
            _ => {
                let value = map[&key].clone();
                map.insert(random.of(&keys).clone(), value);
            }
        }
    }
}

fn array(list: &mut Vec<Value>, random: &mut Random) {
    let (at, other) = (random.below(list.len()), random.below(list.len()));
    match random.below(4) {
        0 => drop(list.remove(at)),
        1 => list.insert(other, list[at].clone()),
        2 => list.swap(at, other),
        _ if list.len() < LONG => list.extend(list.clone()),
        _ => {}
    }
}

fn other_number(old: &Number, random: &mut Random) -> Value {
    let value = old.as_f64().unwrap_or(0.0);
    let float = |value: f64| Number::from_f64(value).map_or(Value::Null, Value::Number);
    match random.below(8) {
        0 => float(-value),
        1 => float(value * 10.0_f64.powi(random.below(33) as i32 - 16)),
        2 => float(f64::from_bits(value.to_bits() ^ (1 << random.below(64)))),
        3 => float(value * (1.0 + 1e-15 * random.below(10) as f64)),
        _ => number(random.of::<&str>(&NUMBERS)),
    }
}

fn number(text: &str) -> Value {
    serde_json::from_str(text).expect("a number of the list")
}

/// A word in place of a digit, or an entry written twice.
fn misspelled(text: &str, random: &mut Random) -> String {
    let places = |wanted: fn(char) -> bool| -> Vec<usize> {
        text.match_indices(wanted).map(|(at, _)| at).collect()
    };
    let digits = places(|c| c.is_ascii_digit());
    if !digits.is_empty() && random.one_in(2) {
        let at = *random.of(&digits);
        return format!("{}{}{}", &text[..at], random.of(&WORDS), &text[at + 1..]);
    }
    match places(|c| c == ',')[..] {
        [first, .., last] => format!("{}{}{}", &text[..last], &text[first..last], &text[last..]),
        _ => text.into(),
    }
}

fn gather(value: &Value, words: &mut Vec<String>) {
    match value {
        Value::String(text) => words.push(text.clone()),
        Value::Array(list) => list.iter().for_each(|value| gather(value, words)),
        Value::Object(map) => {
            for (key, value) in map {
                words.push(key.clone());
                gather(value, words);
            }
        }
        _ => {}
    }
}

/// Nodes of a document, itself included.
fn size(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(size).sum(),
        Value::Object(map) => map.values().map(size).sum(),
        _ => 0,
    }
}

/// Node `n` in the order of [`size`].
fn nth(value: &mut Value, mut n: usize) -> Option<&mut Value> {
    if n == 0 {
        return Some(value);
    }
    n -= 1;
    let children: Box<dyn Iterator<Item = &mut Value>> = match value {
        Value::Array(list) => Box::new(list.iter_mut()),
        Value::Object(map) => Box::new(map.values_mut()),
        _ => return None,
    };
    for child in children {
        let count = size(child);
        if n < count {
            return nth(child, n);
        }
        n -= count;
    }
    None
}
