//! What the tests feed to both twins.

use proptest::collection::vec;
use proptest::prelude::*;

/// JSON of many shapes, printed with as much freedom as the grammar allows.
pub fn json() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        any::<f64>().prop_filter("finite", |value| value.is_finite()).prop_map(|value| format!("{value:e}")),
        any::<i64>().prop_map(|value| value.to_string()),
        (any::<i64>(), 0_u32..64).prop_map(|(value, shift)| (value >> shift).to_string()),
        (0_u32..70, -2_i32..=2).prop_map(|(power, off)| ((1_i128 << power) + i128::from(off)).to_string()),
        (0_u32..70, -2_i32..=2).prop_map(|(power, off)| (i128::from(off) - (1_i128 << power)).to_string()),
        "-?[0-9]\\.[0-9]{1,5}[eE][+-]?[0-9]{1,2}",
    ];
    let word = prop_oneof![Just("null"), Just("true"), Just("false")].prop_map(str::to_owned);
    let placeholder = (0_usize..4).prop_map(placeholder);
    let leaf = prop_oneof![4 => number, 1 => word, 5 => json_string(), 1 => placeholder];
    leaf.prop_recursive(6, 120, 20, |inner| {
        let pair = (json_string(), space(), inner.clone());
        let pair = pair.prop_map(|(key, space, value)| format!("{key}:{space}{value}"));
        prop_oneof![
            (vec(inner, 0..20), space())
                .prop_map(|(members, space)| { format!("[{space}{}]", members.join(&format!("{space},"))) }),
            (vec(pair, 0..20), space()).prop_map(|(members, space)| {
                format!("{{{}{space}}}", members.join(&format!(",{space}")))
            }),
        ]
    })
}

/// What socket.io-parser prints in place of binary data.
pub fn placeholder(num: usize) -> String {
    format!("{{\"_placeholder\":true,\"num\":{num}}}")
}

fn space() -> impl Strategy<Value = &'static str> {
    prop_oneof![9 => Just(""), 1 => Just(" \n\t\r ")]
}

fn json_string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        20 => "[ -!#-\\[\\]-~]{1,9}",
        2 => "[ -!#-\\[\\]-~]{20,70}",
        3 => any::<char>().prop_filter("raw", |raw| !matches!(raw, '"' | '\\' | '\0'..='\x1f')).prop_map(String::from),
        2 => "[é漢😀\u{7f}\u{2028}]{1,20}",
        2 => prop_oneof![Just("\\\""), Just("\\\\"), Just("\\/"), Just("\\b"), Just("\\f"), Just("\\n"), Just("\\r"), Just("\\t")].prop_map(String::from),
        1 => any::<u16>().prop_map(|unit| format!("\\u{unit:04x}")),
        1 => (0xd780_u16..0xe080).prop_map(|unit| format!("\\u{unit:04X}")),
        1 => (0xd800_u16..0xdc00, 0xdc00_u16..0xe000).prop_map(|(high, low)| format!("\\u{high:04x}\\u{low:04x}")),
    ];
    vec(piece, 0..5).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

/// msgpack of many shapes, in forms small and not, some of it refused.
pub fn msgpack() -> impl Strategy<Value = Vec<u8>> {
    let fixed =
        |marker: u8, len: usize| vec(any::<u8>(), len).prop_map(move |data| [&[marker][..], &data].concat());
    let number = prop_oneof![
        (0xe0_u8..=0xff).prop_map(|byte| vec![byte]),
        (0x00_u8..=0x7f).prop_map(|byte| vec![byte]),
        prop_oneof![fixed(0xca, 4), fixed(0xcb, 8), fixed(0xcc, 1), fixed(0xcd, 2), fixed(0xce, 4)],
        prop_oneof![fixed(0xcf, 8), fixed(0xd0, 1), fixed(0xd1, 2), fixed(0xd2, 4), fixed(0xd3, 8)],
        any::<i32>().prop_map(|value| [&[0xcb][..], &f64::from(value).to_be_bytes()].concat()),
        prop_oneof![Just(-0.0_f64), Just(f64::NAN), Just(f64::INFINITY)].prop_map(|value| [
            &[0xcb][..],
            &value.to_be_bytes()
        ]
        .concat()),
    ];
    let kind = || prop_oneof![Just(0_u8), Just(0xff), any::<u8>()];
    let fixext = (0_u32..5, kind(), vec(any::<u8>(), 16)).prop_map(|(power, kind, data)| {
        let marker = 0xd4 + u8::try_from(power).unwrap();
        [&[marker, kind][..], &data[..1 << power]].concat()
    });
    let ext = (0_u8..3, kind(), prop_oneof![Just(12_usize), 0_usize..20]).prop_map(|(form, kind, len)| {
        [&[0xc7 + form][..], &wide(len, form), &[kind], &vec![7; len]].concat()
    });
    let bin = (0_u8..3, vec(any::<u8>(), 0..20))
        .prop_map(|(form, data)| [&[0xc4 + form][..], &wide(data.len(), form), &data].concat());
    let undefined = Just(vec![0xd4, 0, 0]);
    let word = prop_oneof![Just(0xc0_u8), Just(0xc2), Just(0xc3), Just(0xc1)].prop_map(|byte| vec![byte]);
    let leaf = prop_oneof![6 => number.clone(), 6 => msgpack_string(), 1 => fixext, 1 => ext, 1 => bin, 1 => undefined, 1 => word];
    leaf.prop_recursive(6, 120, 20, move |inner| {
        let key = prop_oneof![30 => msgpack_string(), 1 => number.clone(), 1 => inner.clone()];
        let pair = (key, inner.clone()).prop_map(|(key, value)| [key, value].concat());
        let form = || prop_oneof![6 => Just(0_u8), 1 => Just(1), 1 => Just(2)];
        prop_oneof![
            (form(), vec(inner, 0..20)).prop_map(|(form, members)| container(form, 0x90, 0xdc, &members)),
            (form(), vec(pair, 0..20)).prop_map(|(form, members)| container(form, 0x80, 0xde, &members)),
        ]
    })
}

fn msgpack_string() -> impl Strategy<Value = Vec<u8>> {
    let text =
        prop_oneof![8 => "[a-z]{0,12}", 2 => "\\PC{0,30}", 2 => any::<String>(), 1 => "[ -~\n\"\\\\]{0,90}"];
    (0_u8..6, text).prop_map(|(form, text)| {
        let head = match (form, u8::try_from(text.len())) {
            (3.., Ok(len @ 0..32)) => vec![0xa0 + len],
            (0 | 3.., Ok(len)) => vec![0xd9, len],
            (2, _) => [&[0xdb][..], &wide(text.len(), 2)].concat(),
            _ => [&[0xda][..], &wide(text.len(), 1)].concat(),
        };
        [&head[..], text.as_bytes()].concat()
    })
}

fn container(form: u8, fix: u8, marker16: u8, members: &[Vec<u8>]) -> Vec<u8> {
    let head = match (form, u8::try_from(members.len())) {
        (0, Ok(len @ 0..16)) => vec![fix + len],
        (2, _) => [&[marker16 + 1][..], &wide(members.len(), 2)].concat(),
        _ => [&[marker16][..], &wide(members.len(), 1)].concat(),
    };
    [head, members.concat()].concat()
}

/// A length in 1, 2 or 4 bytes.
fn wide(len: usize, form: u8) -> Vec<u8> {
    len.to_be_bytes()[8 - (1 << form)..].to_vec()
}

/// Places and bytes to change a sample by: half of them bytes that mean something in JSON or msgpack.
pub fn damage() -> impl Strategy<Value = Vec<(prop::sample::Index, u8, bool)>> {
    let telling = prop::sample::select(b"\"\\[]{},:0-.eu /\x80\x90\xa1\xc1\xd9\xdd\xed\xf0\xff".as_slice());
    vec((any::<prop::sample::Index>(), prop_oneof![telling, any::<u8>()], any::<bool>()), 0..4)
}

/// `sample` with some of its bytes replaced, or cut off there.
pub fn damaged(mut sample: Vec<u8>, damage: &[(prop::sample::Index, u8, bool)]) -> Vec<u8> {
    for (at, byte, cut) in damage {
        if sample.is_empty() {
            break;
        }
        let at = at.index(sample.len());
        sample[at] = *byte;
        if *cut && *byte % 4 == 0 {
            sample.truncate(at);
        }
    }
    sample
}
