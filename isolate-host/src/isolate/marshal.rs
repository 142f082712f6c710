//! Python's `marshal` format, version 2: how structured data crosses the boundary.
//!
//! Both sides read and write it in compiled code, so a request costs Python one
//! call. What comes from a guest is untrusted: depth and size are bounded.

/// A Python value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Bytes(Vec<u8>),
    Str(String),
    Tuple(Vec<Value>),
    List(Vec<Value>),
    Dict(Vec<(Value, Value)>),
}

/// Why bytes are not a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MarshalError {
    #[error("the value ends at byte {0}, expected more")]
    Truncated(usize),
    #[error(
        "found type code {code:#04x} at byte {at}, expected None, bool, int, float, bytes, str, tuple, list or dict"
    )]
    Type { code: u8, at: usize },
    #[error("found an integer of more than 64 bits at byte {0}")]
    BigInt(usize),
    #[error("found a string at byte {0} that is not UTF-8")]
    Utf8(usize),
    #[error("found values nested more than {MAX_DEPTH} deep")]
    Depth,
    #[error("found {0} bytes after the value")]
    Trailing(usize),
}

const MAX_DEPTH: usize = 32;

impl Value {
    pub fn str(text: impl Into<String>) -> Self {
        Self::Str(text.into())
    }

    /// Reads one value that fills `bytes`.
    pub fn read(bytes: &[u8]) -> Result<Self, MarshalError> {
        let mut reader = Reader { bytes, at: 0 };
        let value = reader.value(0)?;
        match bytes.len() - reader.at {
            0 => Ok(value),
            rest => Err(MarshalError::Trailing(rest)),
        }
    }

    /// Appends the value's bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::None => out.push(b'N'),
            Self::Bool(true) => out.push(b'T'),
            Self::Bool(false) => out.push(b'F'),
            Self::Int(value) => write_int(*value, out),
            Self::Float(value) => {
                out.push(b'g');
                out.extend(value.to_le_bytes());
            }
            Self::Bytes(bytes) => write_bytes(bytes, out),
            Self::Str(text) => write_str(text, out),
            Self::Tuple(items) => write_sequence(b'(', items, out),
            Self::List(items) => write_sequence(b'[', items, out),
            Self::Dict(pairs) => {
                out.push(b'{');
                for (key, value) in pairs {
                    key.write(out);
                    value.write(out);
                }
                out.push(b'0');
            }
        }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    /// A dict's value of a string key.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let Self::Dict(pairs) = self else { return None };
        pairs.iter().find(|(key, _)| matches!(key, Self::Str(text) if text == name)).map(|(_, value)| value)
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }
}

/// Begins a tuple of `length` items, which the caller writes next.
pub fn begin_tuple(length: usize, out: &mut Vec<u8>) {
    out.push(b'(');
    out.extend((length as u32).to_le_bytes());
}

/// Begins a list of `length` items, which the caller writes next.
pub fn begin_list(length: usize, out: &mut Vec<u8>) {
    out.push(b'[');
    out.extend((length as u32).to_le_bytes());
}

pub fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b's');
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend(bytes);
}

pub fn write_str(text: &str, out: &mut Vec<u8>) {
    out.push(b'u');
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.as_bytes());
}

/// Small integers as they are, others in CPython's 15-bit digits.
pub fn write_int(value: i64, out: &mut Vec<u8>) {
    if let Ok(small) = i32::try_from(value) {
        out.push(b'i');
        out.extend(small.to_le_bytes());
        return;
    }
    let mut digits = Vec::new();
    let mut rest = value.unsigned_abs();
    while rest > 0 {
        digits.push((rest & 0x7fff) as u16);
        rest >>= 15;
    }
    let count = digits.len() as i32 * value.signum() as i32;
    out.push(b'l');
    out.extend(count.to_le_bytes());
    for digit in digits {
        out.extend(digit.to_le_bytes());
    }
}

fn write_sequence(code: u8, items: &[Value], out: &mut Vec<u8>) {
    out.push(code);
    out.extend((items.len() as u32).to_le_bytes());
    for item in items {
        item.write(out);
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], MarshalError> {
        let end = self.at.checked_add(length).ok_or(MarshalError::Truncated(self.bytes.len()))?;
        let taken = self.bytes.get(self.at..end).ok_or(MarshalError::Truncated(self.bytes.len()))?;
        self.at = end;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, MarshalError> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into().expect("four bytes")))
    }

    fn value(&mut self, depth: usize) -> Result<Value, MarshalError> {
        let at = self.at;
        let code = self.take(1)?[0];
        if code == b'0' {
            return Err(MarshalError::Type { code, at });
        }
        self.value_of(code, at, depth)
    }

    fn value_of(&mut self, code: u8, at: usize, depth: usize) -> Result<Value, MarshalError> {
        if depth > MAX_DEPTH {
            return Err(MarshalError::Depth);
        }
        Ok(match code {
            b'N' => Value::None,
            b'T' => Value::Bool(true),
            b'F' => Value::Bool(false),
            b'i' => Value::Int(i64::from(self.u32()? as i32)),
            b'l' => self.long(at)?,
            b'g' => Value::Float(f64::from_le_bytes(self.take(8)?.try_into().expect("eight bytes"))),
            b's' => {
                let length = self.u32()? as usize;
                Value::Bytes(self.take(length)?.to_vec())
            }
            b'u' | b't' | b'a' | b'A' => {
                let length = self.u32()? as usize;
                self.text(length, at)?
            }
            b'z' | b'Z' => {
                let length = usize::from(self.take(1)?[0]);
                self.text(length, at)?
            }
            b'(' => Value::Tuple(self.items(depth)?),
            b'[' => Value::List(self.items(depth)?),
            b')' => {
                let length = usize::from(self.take(1)?[0]);
                Value::Tuple((0..length).map(|_| self.value(depth + 1)).collect::<Result<_, _>>()?)
            }
            b'{' => Value::Dict(self.pairs(depth)?),
            _ => return Err(MarshalError::Type { code, at }),
        })
    }

    fn text(&mut self, length: usize, at: usize) -> Result<Value, MarshalError> {
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map(Value::str).map_err(|_| MarshalError::Utf8(at))
    }

    fn items(&mut self, depth: usize) -> Result<Vec<Value>, MarshalError> {
        let length = self.u32()? as usize;
        // Each item takes a byte at least: a count beyond the rest is a lie, not an allocation.
        let mut items = Vec::with_capacity(length.min(self.bytes.len() - self.at));
        for _ in 0..length {
            items.push(self.value(depth + 1)?);
        }
        Ok(items)
    }

    fn pairs(&mut self, depth: usize) -> Result<Vec<(Value, Value)>, MarshalError> {
        let mut pairs = Vec::new();
        loop {
            let at = self.at;
            let code = self.take(1)?[0];
            if code == b'0' {
                return Ok(pairs);
            }
            let key = self.value_of(code, at, depth + 1)?;
            pairs.push((key, self.value(depth + 1)?));
        }
    }

    fn long(&mut self, at: usize) -> Result<Value, MarshalError> {
        let count = self.u32()? as i32;
        let mut magnitude: u128 = 0;
        if count.unsigned_abs() > 5 {
            return Err(MarshalError::BigInt(at));
        }
        for place in 0..count.unsigned_abs() {
            let digit = u16::from_le_bytes(self.take(2)?.try_into().expect("two bytes"));
            magnitude |= u128::from(digit & 0x7fff) << (15 * place);
        }
        let value = if count < 0 { -(magnitude as i128) } else { magnitude as i128 };
        i64::try_from(value).map(Value::Int).map_err(|_| MarshalError::BigInt(at))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::None),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            any::<i32>().prop_map(|n| Value::Int(n.into())),
            (-1e300..1e300).prop_map(Value::Float),
            any::<Vec<u8>>().prop_map(Value::Bytes),
            any::<String>().prop_map(Value::Str),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::Tuple),
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::List),
                prop::collection::vec((inner.clone(), inner), 0..4).prop_map(Value::Dict),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(value in any_value()) {
            prop_assert_eq!(Value::read(&value.to_bytes()), Ok(value));
        }

        #[test]
        fn any_bytes_are_a_value_or_an_error(bytes in any::<Vec<u8>>()) {
            let _ = Value::read(&bytes);
        }
    }

    #[test]
    fn reads_what_python_writes() {
        // marshal.dumps((1, "é", b"x", 2**40, None, {"a": [True]}), 2)
        let bytes = b"(\x06\0\0\0i\x01\0\0\0u\x02\0\0\0\xc3\xa9s\x01\0\0\0xl\x03\0\0\0\0\0\0\0\0\x04N{u\x01\0\0\0a[\x01\0\0\0T0";
        let expected = Value::Tuple(vec![
            Value::Int(1),
            Value::str("é"),
            Value::Bytes(b"x".to_vec()),
            Value::Int(1 << 40),
            Value::None,
            Value::Dict(vec![(Value::str("a"), Value::List(vec![Value::Bool(true)]))]),
        ]);
        assert_eq!(Value::read(bytes), Ok(expected));
    }

    #[test]
    fn a_lying_count_allocates_nothing() {
        assert_eq!(Value::read(b"[\xff\xff\xff\xff"), Err(MarshalError::Truncated(5)));
    }
}
