//! The PredictResponse, byte for byte as Python writes it. Field numbers: tensorflow_serving/apis/predict.proto.

use super::Declined;
use super::arrays::element_size;
use crate::tensorflow::Tensor;
use crate::wire::{delimited_size, put_bytes, put_head, put_varint, varint_size};

/// What a response says besides the outputs.
pub struct Answer<'a> {
    pub model: &'a str,
    pub version: i64,
    pub signature: &'a str,
    /// Write values as `tensor_content` instead of the typed fields.
    pub as_content: bool,
}

/// How an output's values are written.
enum Body<'a> {
    Empty,
    Memory(u8, &'a [u8]),
    /// Field number above 15, whose head has one more byte.
    LongMemory(u8, &'a [u8]),
    Varints(u8, Vec<u8>),
    LongVarints(u8, Vec<u8>),
    Strings(&'a Tensor),
}

struct Written<'a> {
    alias: &'a str,
    dtype: i32,
    dims: Vec<i64>,
    shape: usize,
    body: Body<'a>,
    size: usize,
}

/// Write a gRPC message: five bytes that say its length, and the response.
pub fn write_response(
    answer: &Answer<'_>,
    outputs: &[(&str, &Tensor)],
) -> Result<Vec<u8>, Declined> {
    let written = outputs
        .iter()
        .map(|(alias, tensor)| Written::of(alias, tensor, answer.as_content))
        .collect::<Result<Vec<_>, _>>()?;
    let version = 1 + varint_size(answer.version.cast_unsigned());
    let spec = delimited_size(answer.model.len())
        + delimited_size(version)
        + delimited_size(answer.signature.len());
    let total = written
        .iter()
        .map(|one| delimited_size(one.entry()))
        .sum::<usize>()
        + delimited_size(spec);
    let length = u32::try_from(total)
        .ok()
        .filter(|size| *size < 1 << 31)
        .ok_or(Declined)?;
    let mut out = Vec::with_capacity(total + 5);
    out.push(0);
    out.extend_from_slice(&length.to_be_bytes());
    for one in &written {
        one.put(&mut out);
    }
    put_head(&mut out, 2, spec);
    put_bytes(&mut out, 1, answer.model.as_bytes());
    put_head(&mut out, 2, version);
    out.push(0x08);
    put_varint(&mut out, answer.version.cast_unsigned());
    put_bytes(&mut out, 3, answer.signature.as_bytes());
    if out.len() == total + 5 {
        Ok(out)
    } else {
        Err(Declined)
    }
}

impl<'a> Written<'a> {
    fn of(alias: &'a str, tensor: &'a Tensor, as_content: bool) -> Result<Written<'a>, Declined> {
        let (dtype, dims) = (tensor.dtype(), tensor.dims());
        let body = body(tensor, dtype, &dims, as_content)?;
        let shape = dims
            .iter()
            .map(|size| delimited_size(dim_size(*size)))
            .sum();
        let size = 2 + delimited_size(shape) + body.size();
        Ok(Written {
            alias,
            dtype,
            dims,
            shape,
            body,
            size,
        })
    }

    fn entry(&self) -> usize {
        delimited_size(self.alias.len()) + delimited_size(self.size)
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_head(out, 1, self.entry());
        put_bytes(out, 1, self.alias.as_bytes());
        put_head(out, 2, self.size);
        out.push(0x08);
        out.push(self.dtype as u8);
        put_head(out, 2, self.shape);
        for size in &self.dims {
            put_head(out, 2, dim_size(*size));
            if *size != 0 {
                out.push(0x08);
                put_varint(out, size.cast_unsigned());
            }
        }
        self.body.put(out);
    }
}

fn dim_size(size: i64) -> usize {
    if size == 0 {
        0
    } else {
        1 + varint_size(size.cast_unsigned())
    }
}

fn body<'a>(
    tensor: &'a Tensor,
    dtype: i32,
    dims: &[i64],
    as_content: bool,
) -> Result<Body<'a>, Declined> {
    if dtype == 7 {
        return Ok(Body::Strings(tensor));
    }
    let size = element_size(dtype).ok_or(Declined)?;
    if dims.contains(&0) {
        return Ok(Body::Empty);
    }
    let memory = tensor.data();
    if memory.is_empty() || !memory.len().is_multiple_of(size) {
        return Err(Declined);
    }
    if as_content {
        return Ok(Body::Memory(4, memory));
    }
    Ok(match dtype {
        1 => Body::Memory(5, memory),
        2 => Body::Memory(6, memory),
        8 => Body::Memory(9, memory),
        18 => Body::Memory(12, memory),
        24..=28 => Body::LongMemory(18, memory),
        10 => Body::Memory(11, memory),
        3 | 13 => Body::Varints(
            7,
            varints(memory, |b: [u8; 4]| i64::from(i32::from_le_bytes(b))),
        ),
        4 | 12 => Body::Varints(7, varints(memory, |b: [u8; 1]| i64::from(b[0]))),
        6 | 11 => Body::Varints(
            7,
            varints(memory, |b: [u8; 1]| i64::from(i8::from_le_bytes(b))),
        ),
        5 | 15 => Body::Varints(
            7,
            varints(memory, |b: [u8; 2]| i64::from(i16::from_le_bytes(b))),
        ),
        16 | 17 => Body::Varints(
            7,
            varints(memory, |b: [u8; 2]| i64::from(u16::from_le_bytes(b))),
        ),
        14 | 19 => Body::Varints(
            13,
            varints(memory, |b: [u8; 2]| i64::from(u16::from_le_bytes(b))),
        ),
        9 => Body::Varints(10, varints(memory, i64::from_le_bytes)),
        22 => Body::LongVarints(
            16,
            varints(memory, |b: [u8; 4]| i64::from(u32::from_le_bytes(b))),
        ),
        23 => Body::LongVarints(17, varints(memory, i64::from_le_bytes)),
        _ => return Err(Declined),
    })
}

fn varints<const SIZE: usize>(memory: &[u8], value: impl Fn([u8; SIZE]) -> i64) -> Vec<u8> {
    let mut out = Vec::with_capacity(memory.len());
    for element in memory.chunks_exact(SIZE) {
        if let Ok(bytes) = element.try_into() {
            put_varint(&mut out, value(bytes).cast_unsigned());
        }
    }
    out
}

impl Body<'_> {
    fn size(&self) -> usize {
        match self {
            Body::Empty => 0,
            Body::Memory(_, memory) => delimited_size(memory.len()),
            Body::LongMemory(_, memory) => 1 + delimited_size(memory.len()),
            Body::Varints(_, packed) => delimited_size(packed.len()),
            Body::LongVarints(_, packed) => 1 + delimited_size(packed.len()),
            Body::Strings(tensor) => tensor.strings().map(|one| delimited_size(one.len())).sum(),
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Body::Empty => {}
            Body::Memory(number, memory) => put_bytes(out, *number, memory),
            Body::Varints(number, packed) => put_bytes(out, *number, packed),
            Body::LongMemory(number, memory) => put_long(out, *number, memory),
            Body::LongVarints(number, packed) => put_long(out, *number, packed),
            Body::Strings(tensor) => tensor.strings().for_each(|one| put_bytes(out, 8, one)),
        }
    }
}

fn put_long(out: &mut Vec<u8>, number: u8, content: &[u8]) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, content.len() as u64);
    out.extend_from_slice(content);
}
