//! The keys of the tests' Redis: strings, and streams whose ids count from `1-0`. Replies are written as
//! Redis writes them.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::str::FromStr;

use super::Args;

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
const NIL: &[u8] = b"$-1\r\n";

/// The values of keys. Nothing expires.
#[derive(Debug, Default)]
pub(super) struct Keys {
    values: BTreeMap<Vec<u8>, MemoryValue>,
}

#[derive(Debug)]
enum MemoryValue {
    Text(Vec<u8>),
    Stream(MemoryStream),
}

#[derive(Debug, Default)]
struct MemoryStream {
    entries: Vec<MemoryEntry>,
    last: Id,
}

#[derive(Debug)]
struct MemoryEntry {
    id: Id,
    fields: Vec<Vec<u8>>,
}

type Id = (u64, u64);

impl Keys {
    /// Returns the reply to a command, or `None` while the command blocks.
    pub(super) fn run(&mut self, args: &Args) -> Option<Vec<u8>> {
        let parts: Vec<&[u8]> = args.iter().collect();
        let key = parts[1].to_vec();
        let reply = match parts[0] {
            b"SET" => {
                self.values.insert(key, MemoryValue::Text(parts[2].to_vec()));
                Ok(b"+OK\r\n".to_vec())
            }
            b"GET" => self.text(&key),
            b"GETDEL" => {
                let text = self.text(&key);
                if text.is_ok() {
                    self.values.remove(&key);
                }
                text
            }
            b"DEL" => Ok(integer(usize::from(self.values.remove(&key).is_some()))),
            b"XADD" => self.add(key, &parts[2..]),
            b"XTRIM" => self.stream(key).map(|stream| integer(stream.trim(&parts[2..]))),
            b"XRANGE" => self.range(key, parts[2], parts[3], count(&parts), false),
            b"XREVRANGE" => self.range(key, parts[3], parts[2], count(&parts), true),
            b"XREAD" => self.read(&parts).transpose()?,
            _ => Err("-ERR unknown command\r\n"),
        };
        Some(reply.unwrap_or_else(|error| error.as_bytes().to_vec()))
    }

    fn text(&self, key: &[u8]) -> Result<Vec<u8>, &'static str> {
        match self.values.get(key) {
            Some(MemoryValue::Text(text)) => Ok(bulk(text)),
            Some(MemoryValue::Stream(_)) => Err(WRONG_TYPE),
            None => Ok(NIL.to_vec()),
        }
    }

    fn stream(&mut self, key: Vec<u8>) -> Result<&mut MemoryStream, &'static str> {
        match self.values.entry(key).or_insert_with(|| MemoryValue::Stream(MemoryStream::default())) {
            MemoryValue::Stream(stream) => Ok(stream),
            MemoryValue::Text(_) => Err(WRONG_TYPE),
        }
    }

    /// `[MAXLEN [~|=] n] id field value…`. A `~` trims nothing, as in Redis while there is little to trim.
    fn add(&mut self, key: Vec<u8>, parts: &[&[u8]]) -> Result<Vec<u8>, &'static str> {
        let limits = match parts {
            [b"MAXLEN", b"~" | b"=", ..] => 3,
            [b"MAXLEN", ..] => 2,
            _ => 0,
        };
        let (limit, parts) = parts.split_at(limits);
        let stream = self.stream(key)?;
        let id = if parts[0] == b"*" { (stream.last.0 + 1, 0) } else { bound(parts[0], 0) };
        if id <= stream.last {
            return Err(
                "-ERR The ID specified in XADD is equal or smaller than the target stream top item\r\n",
            );
        }
        stream.last = id;
        stream
            .entries
            .push(MemoryEntry { id, fields: parts[1..].iter().map(|part| part.to_vec()).collect() });
        if !limit.is_empty() {
            stream.trim(limit);
        }
        Ok(bulk(&text(id)))
    }

    fn range(
        &mut self,
        key: Vec<u8>,
        from: &[u8],
        to: &[u8],
        count: usize,
        backwards: bool,
    ) -> Result<Vec<u8>, &'static str> {
        if !self.values.contains_key(&key) {
            return Ok(array(&[]));
        }
        let within = bound(from, 0)..=bound(to, u64::MAX);
        let entries = &self.stream(key)?.entries;
        let entries = entries.iter().filter(|entry| within.contains(&entry.id));
        let entries: Vec<_> = if backwards {
            entries.rev().take(count).map(MemoryEntry::reply).collect()
        } else {
            entries.take(count).map(MemoryEntry::reply).collect()
        };
        Ok(array(&entries))
    }

    /// `[COUNT n] [BLOCK ms] STREAMS key id`. Blocks until something is added, however long that takes.
    fn read(&mut self, parts: &[&[u8]]) -> Result<Option<Vec<u8>>, &'static str> {
        let [.., key, after] = parts else { panic!("XREAD without a key") };
        let after = bound(after, 0);
        let Some(value) = self.values.get(*key) else {
            return Ok(blocked(parts));
        };
        let MemoryValue::Stream(stream) = value else {
            return Err(WRONG_TYPE);
        };
        let entries = stream.entries.iter().filter(|entry| entry.id > after);
        let entries: Vec<_> = entries.take(count(parts)).map(MemoryEntry::reply).collect();
        if entries.is_empty() {
            return Ok(blocked(parts));
        }
        Ok(Some(array(&[array(&[bulk(key), array(&entries)])])))
    }
}

impl MemoryStream {
    /// `MAXLEN [~|=] n`; returns how many entries were trimmed.
    fn trim(&mut self, limit: &[&[u8]]) -> usize {
        let exactly = limit[1] != b"~";
        let gone = self.entries.len().saturating_sub(number(limit[limit.len() - 1]));
        if exactly { self.entries.drain(..gone).count() } else { 0 }
    }
}

impl MemoryEntry {
    fn reply(&self) -> Vec<u8> {
        let fields: Vec<_> = self.fields.iter().map(|field| bulk(field)).collect();
        array(&[bulk(&text(self.id)), array(&fields)])
    }
}

/// A command without BLOCK is answered at once. So is one that blocks for a millisecond.
fn blocked(parts: &[&[u8]]) -> Option<Vec<u8>> {
    let at = parts.iter().position(|part| part == b"BLOCK");
    at.is_none_or(|at| parts[at + 1] == b"1").then(|| b"*-1\r\n".to_vec())
}

fn count(parts: &[&[u8]]) -> usize {
    let at = parts.iter().position(|part| part == b"COUNT");
    at.map_or(usize::MAX, |at| number(parts[at + 1]))
}

/// An id that may be `-`, `+`, or without its second number, for which `rest` is used.
fn bound(id: &[u8], rest: u64) -> Id {
    match id {
        b"-" => (0, 0),
        b"+" => (u64::MAX, u64::MAX),
        id => match id.iter().position(|&byte| byte == b'-') {
            Some(at) => (number(&id[..at]), number(&id[at + 1..])),
            None => (number(id), rest),
        },
    }
}

fn number<N: FromStr<Err: Debug>>(text: &[u8]) -> N {
    std::str::from_utf8(text).unwrap().parse().unwrap()
}

fn text((first, second): Id) -> Vec<u8> {
    format!("{first}-{second}").into_bytes()
}

fn integer(number: usize) -> Vec<u8> {
    format!(":{number}\r\n").into_bytes()
}

fn bulk(bytes: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

fn array(items: &[Vec<u8>]) -> Vec<u8> {
    [format!("*{}\r\n", items.len()).into_bytes(), items.concat()].concat()
}

#[test]
fn replies_as_redis_does() {
    let mut keys = Keys::default();
    let mut run = |command: &str| {
        let reply = keys.run(&Args::of(&command.split(' ').map(str::as_bytes).collect::<Vec<_>>()));
        reply.map(|reply| String::from_utf8(reply).unwrap().replace("\r\n", " "))
    };
    let entry = |id: &str| format!("*2 $3 {id} *2 $1 f $1 v ");
    for (command, reply) in [
        ("XREAD STREAMS s 0", "*-1 ".to_owned()),
        ("XADD s * f v", "$3 1-0 ".to_owned()),
        ("XADD s 1-1 f v", "$3 1-1 ".to_owned()),
        ("XADD s MAXLEN ~ 1 7 f v", "$3 7-0 ".to_owned()),
        ("XRANGE s - + COUNT 1", format!("*1 {}", entry("1-0"))),
        ("XRANGE s 1 1", format!("*2 {}{}", entry("1-0"), entry("1-1"))),
        ("XREVRANGE s + - COUNT 1", format!("*1 {}", entry("7-0"))),
        ("XREAD COUNT 1 BLOCK 5000 STREAMS s 1-0", format!("*1 *2 $1 s *1 {}", entry("1-1"))),
        ("XREAD BLOCK 1 STREAMS s 7-0", "*-1 ".to_owned()),
        ("XADD s MAXLEN 2 * f v", "$3 8-0 ".to_owned()),
        ("XRANGE s - 7", format!("*1 {}", entry("7-0"))),
        ("XRANGE other - +", "*0 ".to_owned()),
        ("GETDEL s", WRONG_TYPE.replace("\r\n", " ")),
        ("SET k text PX 1000", "+OK ".to_owned()),
        ("GET k", "$4 text ".to_owned()),
        ("XADD k * f v", WRONG_TYPE.replace("\r\n", " ")),
        ("GETDEL k", "$4 text ".to_owned()),
        ("GET k", "$-1 ".to_owned()),
        ("DEL s", ":1 ".to_owned()),
    ] {
        assert_eq!(run(command).as_deref(), Some(&*reply), "{command}");
    }
    assert!(run("XADD t 0-0 f v").unwrap().starts_with("-ERR"));
    assert_eq!(run("XREAD BLOCK 5000 STREAMS t 0-0"), None);
}
