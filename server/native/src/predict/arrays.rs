//! A TensorProto's values as TensorFlow's memory. Field numbers: tensorflow/core/framework/tensor.proto.

use super::Declined;
use crate::tensorflow::Tensor;
use crate::wire::{Fields, Value, take_varint};

/// How the elements of a type travel in their typed field.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    /// The packed field is the array's memory; so many bytes each.
    Memory(usize),
    /// Varints, cut to the type: its bytes, and the values that it takes when these travel as int32.
    Varints(usize, Option<(i32, i32)>),
    Bool,
    Strings,
}

/// Field number and form of a type; `None` for one that is left to Python.
fn form(dtype: i32) -> Option<(u32, Form)> {
    let narrow = |bytes, low, high| Some((7, Form::Varints(bytes, Some((low, high)))));
    match dtype {
        1 => Some((5, Form::Memory(4))),
        2 => Some((6, Form::Memory(8))),
        3 | 13 => Some((7, Form::Varints(4, None))),
        4 | 12 => narrow(1, 0, 255),
        5 | 15 => narrow(2, -32768, 32767),
        6 | 11 => narrow(1, -128, 127),
        7 => Some((8, Form::Strings)),
        8 => Some((9, Form::Memory(8))),
        9 => Some((10, Form::Varints(8, None))),
        10 => Some((11, Form::Bool)),
        14 | 19 => Some((13, Form::Varints(2, Some((0, 65535))))),
        16 | 17 => narrow(2, 0, 65535),
        18 => Some((12, Form::Memory(16))),
        22 => Some((16, Form::Varints(4, None))),
        23 => Some((17, Form::Varints(8, None))),
        24..=28 => Some((18, Form::Memory(1))),
        _ => None,
    }
}

/// Bytes of an element whose values are plain memory; `None` for strings and what is left to Python.
pub fn element_size(dtype: i32) -> Option<usize> {
    match form(dtype)?.1 {
        Form::Memory(size) | Form::Varints(size, _) => Some(size),
        Form::Bool => Some(1),
        Form::Strings => None,
    }
}

/// Bounds of one tensor; what is beyond them is left to Python, which has its own.
#[derive(Clone, Copy)]
pub struct Limits {
    rank: usize,
    /// Values that were sent one by one.
    parts: usize,
    /// Whether values may take more memory than was sent: a varint of one byte becomes eight, a string dozens.
    grows: bool,
}

/// Of larger messages only values are read here that are memory as they stand: nothing is taken beyond what was sent.
const SMALL_MESSAGE: usize = 1 << 20;

impl Limits {
    /// The bounds of each tensor of a message.
    pub fn of(message: &[u8]) -> Limits {
        let grows = message.len() <= SMALL_MESSAGE;
        Limits {
            rank: 64,
            parts: if grows { SMALL_MESSAGE } else { 64 },
            grows,
        }
    }
}

/// A tensor as it was sent: well-formed, and with exactly as many values as its shape has.
#[derive(Debug)]
pub struct Decoded<'a> {
    pub dtype: i32,
    pub dims: Vec<i64>,
    values: Values<'a>,
}

#[derive(Debug)]
enum Values<'a> {
    Memory(&'a [u8]),
    Own(Vec<u8>),
    Strings(Vec<&'a [u8]>),
}

impl<'a> Decoded<'a> {
    pub fn read(data: &'a [u8], limits: Limits) -> Result<Decoded<'a>, Declined> {
        let mut dtype = None;
        let mut shape: Option<&[u8]> = None;
        let mut content: &[u8] = &[];
        let mut typed = Typed::default();
        for field in Fields(data) {
            match field? {
                (1, Value::Varint(number)) if dtype.is_none() => {
                    dtype = Some(i32::try_from(number).map_err(|_| Declined)?);
                }
                (2, Value::Bytes(value)) if shape.is_none() => shape = Some(value),
                (3, Value::Varint(_)) => {}
                (4, Value::Bytes(value)) => content = value,
                (number, value) => typed.add(number, value, limits)?,
            }
        }
        let dtype = dtype.ok_or(Declined)?;
        let (field, form) = form(dtype).ok_or(Declined)?;
        let (dims, count) = read_shape(shape.unwrap_or_default(), limits)?;
        let values = if content.is_empty() {
            if !typed.parts.is_empty() && typed.field != field {
                return Err(Declined);
            }
            typed.values(form, count, limits)?
        } else if typed.parts.is_empty() {
            from_content(content, form, count, limits)?
        } else {
            return Err(Declined);
        };
        Ok(Decoded {
            dtype,
            dims,
            values,
        })
    }

    /// Copy into memory of TensorFlow's.
    pub fn tensor(&self) -> Result<Tensor, Declined> {
        let bytes = match &self.values {
            Values::Strings(strings) => {
                return Tensor::of_strings(&self.dims, strings).ok_or(Declined);
            }
            Values::Memory(bytes) => bytes,
            Values::Own(bytes) => bytes.as_slice(),
        };
        let mut tensor = Tensor::new(self.dtype, &self.dims, bytes.len()).ok_or(Declined)?;
        if tensor.fill(bytes) {
            Ok(tensor)
        } else {
            Err(Declined)
        }
    }

    #[cfg(test)]
    pub fn bytes(&self) -> &[u8] {
        match &self.values {
            Values::Memory(bytes) => bytes,
            Values::Own(bytes) => bytes,
            Values::Strings(_) => &[],
        }
    }

    #[cfg(test)]
    pub fn strings(&self) -> &[&'a [u8]] {
        match &self.values {
            Values::Strings(strings) => strings,
            _ => &[],
        }
    }
}

/// The dimensions, and how many elements they make.
fn read_shape(data: &[u8], limits: Limits) -> Result<(Vec<i64>, usize), Declined> {
    let mut dims = Vec::new();
    for field in Fields(data) {
        match field? {
            (2, Value::Bytes(dim)) if dims.len() < limits.rank => {
                let mut size = 0;
                for part in Fields(dim) {
                    match part? {
                        (1, Value::Varint(number)) => size = number.cast_signed(),
                        (2, Value::Bytes(_)) => {}
                        _ => return Err(Declined),
                    }
                }
                dims.push(size);
            }
            (3, Value::Varint(0)) => {}
            _ => return Err(Declined),
        }
    }
    // Also where there is nothing to hold, TensorFlow multiplies the sizes of the other dimensions.
    let mut product = 1_i64;
    for size in dims.iter().copied().filter(|size| *size != 0) {
        if size < 0 {
            return Err(Declined);
        }
        product = product
            .checked_mul(size)
            .filter(|all| *all <= i64::MAX / 16)
            .ok_or(Declined)?;
    }
    let count = if dims.contains(&0) { 0 } else { product };
    Ok((dims, usize::try_from(count).map_err(|_| Declined)?))
}

/// The values of the one typed field of a message, as they came: packed, or each by itself.
#[derive(Default)]
struct Typed<'a> {
    field: u32,
    parts: Vec<Value<'a>>,
}

impl<'a> Typed<'a> {
    fn add(&mut self, field: u32, value: Value<'a>, limits: Limits) -> Result<(), Declined> {
        if !self.parts.is_empty() && field != self.field || self.parts.len() >= limits.parts {
            return Err(Declined);
        }
        self.field = field;
        self.parts.push(value);
        Ok(())
    }

    fn values(self, form: Form, count: usize, limits: Limits) -> Result<Values<'a>, Declined> {
        if !limits.grows && !matches!(form, Form::Memory(_)) {
            return Err(Declined);
        }
        match form {
            Form::Strings => {
                if self.parts.len() != count {
                    return Err(Declined);
                }
                let strings = self.parts.into_iter().map(|part| match part {
                    Value::Bytes(string) => Ok(string),
                    _ => Err(Declined),
                });
                Ok(Values::Strings(strings.collect::<Result<_, _>>()?))
            }
            Form::Memory(size) => {
                let bytes = count.checked_mul(size).ok_or(Declined)?;
                match self.parts.as_slice() {
                    [Value::Bytes(memory)] if memory.len() == bytes => Ok(Values::Memory(memory)),
                    [] if bytes == 0 => Ok(Values::Memory(&[])),
                    parts => joined(parts, bytes).map(Values::Own),
                }
            }
            Form::Bool => self.varints(count, |value, out| {
                out.push(u8::from(value != 0));
                Ok(())
            }),
            Form::Varints(8, _) => self.varints(count, |value, out| {
                out.extend_from_slice(&value.to_le_bytes());
                Ok(())
            }),
            Form::Varints(size, range) => self.varints(count, move |value, out| {
                // Protobuf keeps the low half of what is longer.
                let value = value as i32;
                if range.is_some_and(|(low, high)| value < low || value > high) {
                    return Err(Declined);
                }
                out.extend_from_slice(value.to_le_bytes().get(..size).ok_or(Declined)?);
                Ok(())
            }),
        }
    }

    fn varints(
        self,
        count: usize,
        mut write: impl FnMut(u64, &mut Vec<u8>) -> Result<(), Declined>,
    ) -> Result<Values<'a>, Declined> {
        // Each takes at least one byte: a shape alone takes no memory here.
        let sent: usize = self.parts.iter().map(|part| part.len()).sum();
        if count > sent {
            return Err(Declined);
        }
        let mut out = Vec::new();
        let mut found = 0;
        for part in self.parts {
            match part {
                Value::Varint(value) => {
                    write(value, &mut out)?;
                    found += 1;
                }
                Value::Bytes(mut packed) => {
                    out.reserve(packed.len());
                    while !packed.is_empty() {
                        write(take_varint(&mut packed)?, &mut out)?;
                        found += 1;
                    }
                }
                _ => return Err(Declined),
            }
        }
        if found == count {
            Ok(Values::Own(out))
        } else {
            Err(Declined)
        }
    }
}

impl Value<'_> {
    fn len(&self) -> usize {
        match self {
            Value::Bytes(bytes) => bytes.len(),
            _ => 1,
        }
    }
}

/// Numbers of fixed width that were not sent in one piece.
fn joined(parts: &[Value<'_>], bytes: usize) -> Result<Vec<u8>, Declined> {
    let mut out = Vec::new();
    for part in parts {
        match part {
            Value::Bytes(packed) => out.extend_from_slice(packed),
            Value::Fixed32(one) => out.extend_from_slice(one),
            Value::Fixed64(one) => out.extend_from_slice(one),
            Value::Varint(_) => return Err(Declined),
        }
    }
    if out.len() == bytes {
        Ok(out)
    } else {
        Err(Declined)
    }
}

fn from_content(
    content: &[u8],
    form: Form,
    count: usize,
    limits: Limits,
) -> Result<Values<'_>, Declined> {
    match form {
        Form::Memory(size) | Form::Varints(size, _) => {
            if count.checked_mul(size) != Some(content.len()) {
                return Err(Declined);
            }
            Ok(Values::Memory(content))
        }
        Form::Bool => {
            if content.len() != count {
                return Err(Declined);
            }
            Ok(Values::Own(
                content.iter().map(|byte| u8::from(*byte != 0)).collect(),
            ))
        }
        Form::Strings => strings_from_content(content, count, limits).map(Values::Strings),
    }
}

/// TensorFlow's packed strings: their lengths as varints, then the bytes.
fn strings_from_content(
    mut content: &[u8],
    count: usize,
    limits: Limits,
) -> Result<Vec<&[u8]>, Declined> {
    if count > content.len() || !limits.grows {
        return Err(Declined);
    }
    let mut lengths = Vec::with_capacity(count);
    for _ in 0..count {
        lengths.push(usize::try_from(take_varint(&mut content)?).map_err(|_| Declined)?);
    }
    let mut strings = Vec::with_capacity(count);
    for length in lengths {
        let (string, rest) = content.split_at_checked(length).ok_or(Declined)?;
        strings.push(string);
        content = rest;
    }
    if content.is_empty() {
        Ok(strings)
    } else {
        Err(Declined)
    }
}

#[cfg(test)]
#[path = "arrays_tests.rs"]
mod tests;
