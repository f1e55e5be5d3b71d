//! The naive twins: both directions by way of a tree of values, recursive, one character or byte at a time.
//! Written from the specifications and from notepack.io, sharing no code with what they check.

use core::ops::Range;

use super::MAX_DEPTH;

#[derive(Clone, Debug, PartialEq)]
pub enum Tree {
    Null,
    Undefined,
    Bool(bool),
    Number(f64),
    /// In ms.
    Date(f64),
    Text(String),
    /// With its place in what was decoded.
    Bin(Range<usize>),
    Array(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

/// The value that JSON text prints; `None` if it is not JSON, or too deep.
pub fn parse_json(text: &[u8]) -> Option<Tree> {
    let text: Vec<char> = core::str::from_utf8(text).ok()?.chars().collect();
    let mut parser = JsonParser { text, at: 0 };
    let tree = parser.value(0)?;
    parser.space();
    (parser.at == parser.text.len()).then_some(tree)
}

struct JsonParser {
    text: Vec<char>,
    at: usize,
}

impl JsonParser {
    fn space(&mut self) {
        while matches!(self.text.get(self.at), Some(' ' | '\t' | '\n' | '\r')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, wanted: &str) -> bool {
        let found = self.text[self.at..].starts_with(&wanted.chars().collect::<Vec<_>>());
        if found {
            self.at += wanted.len();
        }
        found
    }

    fn value(&mut self, depth: usize) -> Option<Tree> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.space();
        if self.eat("null") {
            Some(Tree::Null)
        } else if self.eat("true") {
            Some(Tree::Bool(true))
        } else if self.eat("false") {
            Some(Tree::Bool(false))
        } else if self.eat("\"") {
            self.string().map(Tree::Text)
        } else if self.eat("[") {
            self.members("]", |parser| parser.value(depth + 1)).map(Tree::Array)
        } else if self.eat("{") {
            let pair = |parser: &mut Self| {
                parser.space();
                let key = parser.eat("\"").then(|| parser.string())??;
                parser.space();
                parser.eat(":").then(|| parser.value(depth + 1))?.map(|value| (key, value))
            };
            self.members("}", pair).map(Tree::Map)
        } else {
            self.number()
        }
        .filter(|tree| depth < MAX_DEPTH || !matches!(tree, Tree::Array(_) | Tree::Map(_)))
    }

    fn members<T>(&mut self, end: &str, member: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let mut members = Vec::new();
        self.space();
        if self.eat(end) {
            return Some(members);
        }
        loop {
            members.push(member(self)?);
            self.space();
            if self.eat(end) {
                return Some(members);
            }
            if !self.eat(",") {
                return None;
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        let mut units: Vec<u16> = Vec::new();
        loop {
            let next = *self.text.get(self.at)?;
            self.at += 1;
            let meant = match next {
                '"' => return Some(String::from_utf16_lossy(&units)),
                '\0'..='\x1f' => return None,
                '\\' => {
                    let escape = *self.text.get(self.at)?;
                    self.at += 1;
                    match escape {
                        '"' | '\\' | '/' => escape,
                        'b' => '\x08',
                        'f' => '\x0c',
                        'n' => '\n',
                        'r' => '\r',
                        't' => '\t',
                        'u' => {
                            let hex: String = self.text.get(self.at..self.at + 4)?.iter().collect();
                            self.at += 4;
                            if !hex.chars().all(|digit| digit.is_ascii_hexdigit()) {
                                return None;
                            }
                            units.push(u16::from_str_radix(&hex, 16).ok()?);
                            continue;
                        }
                        _ => return None,
                    }
                }
                other => other,
            };
            units.extend_from_slice(meant.encode_utf16(&mut [0; 2]));
        }
    }

    fn number(&mut self) -> Option<Tree> {
        let start = self.at;
        self.eat("-");
        let whole = self.digits();
        let led = self.text.get(start..self.at)?.iter().collect::<String>();
        let led = led.trim_start_matches('-').to_owned();
        if whole == 0 || (led.starts_with('0') && whole > 1) {
            return None;
        }
        if self.eat(".") && self.digits() == 0 {
            return None;
        }
        if self.eat("e") || self.eat("E") {
            let _ = self.eat("+") || self.eat("-");
            if self.digits() == 0 {
                return None;
            }
        }
        let number: String = self.text[start..self.at].iter().collect();
        Some(Tree::Number(number.parse().ok()?))
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.text.get(self.at).is_some_and(char::is_ascii_digit) {
            self.at += 1;
        }
        self.at - start
    }
}

/// What notepack.io makes of a tree that JSON printed.
pub fn encode(tree: &Tree, out: &mut Vec<u8>) {
    fn head(out: &mut Vec<u8>, len: usize, fix: u8, below: usize, markers: &[(usize, u8, usize)]) {
        if len < below {
            out.push(fix + u8::try_from(len).unwrap());
            return;
        }
        let (_, marker, width) = *markers.iter().find(|(limit, ..)| len < *limit).unwrap();
        out.push(marker);
        out.extend_from_slice(&len.to_be_bytes()[8 - width..]);
    }
    const K64: usize = 1 << 16;
    const G4: usize = 1 << 32;
    match tree {
        Tree::Null | Tree::Undefined => out.push(0xc0),
        Tree::Bool(value) => out.push(if *value { 0xc3 } else { 0xc2 }),
        Tree::Number(value) => encode_number(*value, out),
        Tree::Text(text) => {
            head(out, text.len(), 0xa0, 32, &[(256, 0xd9, 1), (K64, 0xda, 2), (G4, 0xdb, 4)]);
            out.extend_from_slice(text.as_bytes());
        }
        Tree::Array(members) => {
            head(out, members.len(), 0x90, 16, &[(K64, 0xdc, 2), (G4, 0xdd, 4)]);
            members.iter().for_each(|member| encode(member, out));
        }
        Tree::Map(members) => {
            head(out, members.len(), 0x80, 16, &[(K64, 0xde, 2), (G4, 0xdf, 4)]);
            for (key, value) in members {
                encode(&Tree::Text(key.clone()), out);
                encode(value, out);
            }
        }
        Tree::Date(_) | Tree::Bin(_) => unreachable!("JSON has none"),
    }
}

fn encode_number(value: f64, out: &mut Vec<u8>) {
    // Beyond 39 digits it is no i128, and no msgpack integer either.
    let whole: Option<i128> = format!("{value:.0}").parse().ok().filter(|_| value.fract() == 0.0);
    // Marker, smallest, largest, bytes.
    let forms: [(Option<u8>, i128, i128, usize); 10] = [
        (None, 0, 0x7f, 1),
        (Some(0xcc), 0, 0xff, 1),
        (Some(0xcd), 0, 0xffff, 2),
        (Some(0xce), 0, 0xffff_ffff, 4),
        (Some(0xcf), 0, (1 << 64) - 1, 8),
        (None, -0x20, -1, 1),
        (Some(0xd0), -0x80, -1, 1),
        (Some(0xd1), -0x8000, -1, 2),
        (Some(0xd2), -0x8000_0000, -1, 4),
        (Some(0xd3), -(1 << 63), -1, 8),
    ];
    let form = forms.iter().find(|(_, min, max, _)| whole.is_some_and(|it| *min <= it && it <= *max));
    match (form, whole) {
        (Some((marker, _, _, width)), Some(whole)) => {
            out.extend(marker);
            out.extend_from_slice(&whole.to_be_bytes()[16 - width..]);
        }
        _ => {
            out.push(0xcb);
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
}

/// The value that notepack.io decodes from the start of msgpack, and its length.
pub fn decode(input: &[u8]) -> Option<(Tree, usize)> {
    let mut decoder = Decoder { input, at: 0 };
    let tree = decoder.value(0)?;
    Some((tree, decoder.at))
}

struct Decoder<'a> {
    input: &'a [u8],
    at: usize,
}

impl Decoder<'_> {
    fn take(&mut self, len: usize) -> Option<Range<usize>> {
        let start = self.at;
        self.at += len;
        (self.at <= self.input.len()).then_some(start..self.at)
    }

    fn big_endian(&mut self, len: usize) -> Option<u64> {
        let bytes = &self.input[self.take(len)?];
        Some(bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn signed(&mut self, len: usize) -> Option<i64> {
        let unused = 64 - 8 * u32::try_from(len).unwrap();
        Some((self.big_endian(len)? << unused).cast_signed() >> unused)
    }

    fn value(&mut self, depth: usize) -> Option<Tree> {
        let marker = self.big_endian(1)?;
        let low = usize::try_from(marker).unwrap();
        let width = |first: u64| 1 << (marker - first);
        Some(match marker {
            0x00..=0x7f => Tree::Number(marker as f64),
            0x80..=0x8f => self.map(low - 0x80, depth)?,
            0x90..=0x9f => self.array(low - 0x90, depth)?,
            0xa0..=0xbf => self.text(low - 0xa0)?,
            0xc0 => Tree::Null,
            0xc2 | 0xc3 => Tree::Bool(marker == 0xc3),
            0xc4..=0xc6 => {
                let len = self.len(width(0xc4))?;
                Tree::Bin(self.take(len)?)
            }
            0xc7..=0xc9 => {
                let len = self.len(width(0xc7))?;
                self.ext(marker, len)?
            }
            0xca => Tree::Number(f32::from_bits(u32::try_from(self.big_endian(4)?).unwrap()).into()),
            0xcb => Tree::Number(f64::from_bits(self.big_endian(8)?)),
            0xcc..=0xcf => Tree::Number(self.big_endian(width(0xcc))? as f64),
            0xd0..=0xd3 => Tree::Number(self.signed(width(0xd0))? as f64),
            0xd4..=0xd8 => self.ext(marker, width(0xd4))?,
            0xd9..=0xdb => {
                let len = self.len(width(0xd9))?;
                self.text(len)?
            }
            0xdc | 0xdd => {
                let len = self.len(2 * width(0xdc))?;
                self.array(len, depth)?
            }
            0xde | 0xdf => {
                let len = self.len(2 * width(0xde))?;
                self.map(len, depth)?
            }
            0xe0..=0xff => Tree::Number(marker as f64 - 256.0),
            _ => return None,
        })
    }

    fn len(&mut self, width: usize) -> Option<usize> {
        usize::try_from(self.big_endian(width)?).ok()
    }

    fn text(&mut self, len: usize) -> Option<Tree> {
        let bytes = &self.input[self.take(len)?];
        String::from_utf8(bytes.to_vec()).ok().map(Tree::Text)
    }

    fn array(&mut self, len: usize, depth: usize) -> Option<Tree> {
        let members = (0..len).map(|_| self.value(depth + 1));
        (depth < MAX_DEPTH).then(|| members.collect::<Option<_>>()).flatten().map(Tree::Array)
    }

    fn map(&mut self, len: usize, depth: usize) -> Option<Tree> {
        let members = (0..len).map(|_| {
            let is_float = matches!(self.input.get(self.at), Some(0xca | 0xcb));
            let key = match self.value(MAX_DEPTH)? {
                Tree::Text(key) => key,
                number @ Tree::Number(_) if !is_float => stringify(&number, &mut Vec::new())?,
                _ => return None,
            };
            Some((key, self.value(depth + 1)?))
        });
        (depth < MAX_DEPTH).then(|| members.collect::<Option<_>>()).flatten().map(Tree::Map)
    }

    fn ext(&mut self, marker: u64, len: usize) -> Option<Tree> {
        let kind = self.signed(1)?;
        let data = self.take(len)?;
        let mut inner = Decoder { input: &self.input[..data.end], at: data.start };
        Some(match (kind, marker, len) {
            (0, 0xd4, _) => Tree::Undefined,
            (0, 0xd7, _) => Tree::Date(inner.signed(8)? as f64),
            (0, 0xc7..=0xc9, _) => Tree::Bin(data),
            (-1, 0xd6, _) => Tree::Date(inner.big_endian(4)? as f64 * 1e3),
            (-1, 0xd7, _) => {
                let high = inner.big_endian(4)?;
                let seconds = (high & 3) * 0x1_0000_0000 + inner.big_endian(4)?;
                Tree::Date(seconds as f64 * 1e3 + (high >> 2) as f64 / 1e6)
            }
            (-1, 0xc7, 12) => {
                let nanos = inner.big_endian(4)?;
                Tree::Date(inner.signed(8)? as f64 * 1e3 + nanos as f64 / 1e6)
            }
            (-1, 0xc7, _) => return None,
            _ => Tree::Array(vec![Tree::Number(kind as f64), Tree::Bin(data)]),
        })
    }
}

/// What `JSON.stringify` prints, `None` for undefined; binary parts leave placeholders and go to `parts`.
pub fn stringify(tree: &Tree, parts: &mut Vec<Range<usize>>) -> Option<String> {
    Some(match tree {
        Tree::Undefined => return None,
        Tree::Null => "null".to_owned(),
        Tree::Bool(value) => value.to_string(),
        Tree::Number(value) if !value.is_finite() => "null".to_owned(),
        Tree::Number(value) => ryu_js::Buffer::new().format(*value).to_owned(),
        Tree::Date(time) => {
            let mut out = Vec::new();
            super::date::print_date(*time, &mut out);
            String::from_utf8(out).unwrap()
        }
        Tree::Text(text) => {
            let escaped = text.chars().map(|character| match character {
                '"' => "\\\"".to_owned(),
                '\\' => "\\\\".to_owned(),
                '\x08' => "\\b".to_owned(),
                '\x0c' => "\\f".to_owned(),
                '\n' => "\\n".to_owned(),
                '\r' => "\\r".to_owned(),
                '\t' => "\\t".to_owned(),
                '\0'..='\x1f' => format!("\\u{:04x}", u32::from(character)),
                _ => character.to_string(),
            });
            format!("\"{}\"", escaped.collect::<String>())
        }
        Tree::Bin(range) => {
            parts.push(range.clone());
            format!("{{\"_placeholder\":true,\"num\":{}}}", parts.len() - 1)
        }
        Tree::Array(members) => {
            let members = members.iter();
            let printed = members.map(|member| stringify(member, parts).unwrap_or("null".to_owned()));
            format!("[{}]", printed.collect::<Vec<_>>().join(","))
        }
        Tree::Map(members) => {
            let printed = members.iter().filter_map(|(key, value)| {
                let key = stringify(&Tree::Text(key.clone()), &mut Vec::new())?;
                Some(format!("{key}:{}", stringify(value, parts)?))
            });
            format!("{{{}}}", printed.collect::<Vec<_>>().join(","))
        }
    })
}
