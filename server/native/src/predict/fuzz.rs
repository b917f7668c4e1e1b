//! Bytes that nobody has written on purpose: whatever comes, readers read it or decline, and take no more than was sent.

use super::arrays::element_size;
use super::{Decoded, Limits, read_request};
use crate::fuzzing::{Random, Shown, changed, corpus, rounds};
use crate::wire::{Fields, Value, put_bytes, put_varint};

fn lies_within(part: &[u8], whole: &[u8]) -> bool {
    part.is_empty() || {
        let (part, whole) = (part.as_ptr_range(), whole.as_ptr_range());
        whole.start <= part.start && part.end <= whole.end
    }
}

fn head(out: &mut Vec<u8>, number: u32, kind: u32) {
    put_varint(out, u64::from(number << 3 | kind));
}

/// Read fields up to the first that is malformed, write them again, and read that: it has to be the same.
fn try_fields(data: &[u8]) -> usize {
    let _shown = Shown("wire", data);
    let fields: Vec<(u32, Value<'_>)> = Fields(data).map_while(Result::ok).collect();
    let mut out = Vec::new();
    for (number, value) in &fields {
        match value {
            Value::Varint(value) => {
                head(&mut out, *number, 0);
                put_varint(&mut out, *value);
            }
            Value::Fixed64(bytes) => {
                head(&mut out, *number, 1);
                out.extend_from_slice(bytes);
            }
            Value::Bytes(bytes) => {
                assert!(lies_within(bytes, data));
                head(&mut out, *number, 2);
                put_varint(&mut out, bytes.len() as u64);
                out.extend_from_slice(bytes);
            }
            Value::Fixed32(bytes) => {
                head(&mut out, *number, 5);
                out.extend_from_slice(bytes);
            }
        }
    }
    assert!(out.len() <= data.len(), "more was read than was sent");
    let again: Vec<_> = Fields(&out)
        .map(|field| field.expect("well formed"))
        .collect();
    assert_eq!(again, fields);
    fields.len()
}

/// Whether a tensor is read; if so it has exactly the values of its shape, in no more memory than they need.
fn try_tensor(data: &[u8]) -> bool {
    let Ok(decoded) = Decoded::read(data, Limits::of(data)) else {
        return false;
    };
    let elements = decoded
        .dims
        .iter()
        .try_fold(1_usize, |all, size| {
            all.checked_mul(usize::try_from(*size).ok()?)
        })
        .expect("a shape that can be counted");
    match element_size(decoded.dtype) {
        Some(size) => assert_eq!(decoded.bytes().len(), elements * size),
        None => {
            let strings = decoded.strings();
            assert_eq!(strings.len(), elements);
            assert!(strings.iter().all(|string| lies_within(string, data)));
        }
    }
    true
}

/// Whether a whole request is read, tensors included.
fn try_request(data: &[u8]) -> bool {
    let _shown = Shown("predict", data);
    try_tensor(data);
    let Ok(request) = read_request(data) else {
        return false;
    };
    assert!(lies_within(request.model, data) && lies_within(request.signature, data));
    for (index, (alias, tensor)) in request.inputs.iter().enumerate() {
        assert!(lies_within(alias, data) && lies_within(tensor, data));
        assert!(
            request.inputs[..index]
                .iter()
                .all(|other| other.0 != *alias)
        );
    }
    request
        .inputs
        .iter()
        .fold(true, |all, (_, tensor)| try_tensor(tensor) && all)
}

#[test]
fn whatever_fields_are_read_are_the_same_when_they_are_written_again() {
    let seeds = [corpus("wire"), corpus("predict")].concat();
    let mut random = Random::new();
    let mut found = 0;
    for seed in &seeds {
        found += try_fields(seed);
    }
    for _ in 0..rounds(20_000) {
        found += try_fields(&changed(&mut random, &seeds));
        let size = random.below(40);
        found += try_fields(&random.bytes(size));
    }
    assert!(found > 1000, "only {found} fields: the seeds have rotted");
}

/// The tensors of requests: a change within one that stands alone does not make a length around it wrong.
fn tensors(requests: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let read = |data| read_request(data).expect("a seed").inputs;
    requests
        .iter()
        .flat_map(|data| read(data))
        .map(|(_, tensor)| tensor.to_vec())
        .collect()
}

#[test]
fn whatever_tensor_is_read_has_the_values_of_its_shape() {
    let seeds = tensors(&corpus("predict"));
    let mut random = Random::new();
    for _ in 0..rounds(20_000) {
        let data = changed(&mut random, &seeds);
        let _shown = Shown("predict, as a tensor", &data);
        try_tensor(&data);
    }
}

#[test]
fn whatever_request_is_read_has_the_values_of_its_shapes_within_what_was_sent() {
    let seeds = corpus("predict");
    let mut random = Random::new();
    assert!(
        seeds.iter().all(|seed| try_request(seed)),
        "a seed is declined"
    );
    let tried = rounds(20_000);
    let read = (0..tried)
        .filter(|_| try_request(&changed(&mut random, &seeds)))
        .count() as u64;
    assert!(
        (tried / 100..tried * 9 / 10).contains(&read),
        "{read} of {tried} were read: the changes are too wild, or too tame"
    );
}

/// A type, the number of its field, and whether that field is packed memory (else varints).
const KINDS: [(u8, u32, bool); 6] = [
    (1, 5, true),
    (2, 6, true),
    (3, 7, false),
    (9, 10, false),
    (4, 7, false),
    (10, 11, false),
];

#[test]
fn what_is_sent_well_is_read_in_whatever_way_it_is_sent() {
    let mut random = Random::new();
    for _ in 0..rounds(5_000) {
        let (dtype, number, memory) = *random.of(&KINDS);
        let size = element_size(i32::from(dtype)).expect("a number");
        let dims: Vec<usize> = (0..random.below(4)).map(|_| random.below(4)).collect();
        let count: usize = dims.iter().product();
        let mut values = random.bytes(count * size);
        if dtype == 10 {
            values.iter_mut().for_each(|byte| *byte &= 1);
        }
        let mut data = vec![0x08, dtype];
        let mut shape = Vec::new();
        for dim in &dims {
            let mut one = vec![0x08];
            put_varint(&mut one, *dim as u64);
            put_bytes(&mut shape, 2, &one);
        }
        put_bytes(&mut data, 2, &shape);
        put_values(&mut data, &mut random, (number, memory), &values, size);
        let _shown = Shown("predict, as a tensor", &data);
        let decoded = Decoded::read(&data, Limits::of(&data)).expect("it is sent well");
        let found: Vec<usize> = decoded.dims.iter().map(|size| *size as usize).collect();
        assert_eq!((found, decoded.bytes()), (dims, &values[..]));
    }
}

/// Write values as contents, packed in one or two fields, or each by itself.
fn put_values(
    out: &mut Vec<u8>,
    random: &mut Random,
    (number, memory): (u32, bool),
    values: &[u8],
    size: usize,
) {
    let way = random.below(3);
    if way == 0 {
        return put_bytes(out, 4, values);
    }
    let elements: Vec<&[u8]> = values.chunks(size).collect();
    let cut = random.below(elements.len() + 1);
    let (first, second) = elements.split_at(cut);
    for (part, single) in [(first, way == 2), (second, false)] {
        let mut packed = Vec::new();
        for element in part {
            let start = packed.len();
            if memory {
                packed.extend_from_slice(element);
            } else {
                put_varint(&mut packed, varint_of(element));
            }
            if single {
                let kind = if !memory {
                    0
                } else if size == 4 {
                    5
                } else {
                    1
                };
                head(out, number, kind);
                out.extend_from_slice(&packed[start..]);
            }
        }
        if !single && !part.is_empty() {
            head(out, number, 2);
            put_varint(out, packed.len() as u64);
            out.append(&mut packed);
        }
    }
}

/// As protobuf sends it: negative numbers of 32 bits have ten bytes.
fn varint_of(element: &[u8]) -> u64 {
    match *element {
        [one] => u64::from(one),
        [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])).cast_unsigned(),
        _ => u64::from_le_bytes(element.try_into().expect("eight bytes")),
    }
}
