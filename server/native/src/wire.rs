//! Protobuf's wire format: a reader that copies nothing, and a writer into a buffer of known size.

/// A field as it stands in a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    Varint(u64),
    Fixed32([u8; 4]),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
}

/// The message is none, or has something that this reader does not take (groups).
#[derive(Debug, PartialEq)]
pub struct Malformed;

/// Take a varint off the front.
pub fn take_varint(data: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0_u64;
    for (index, byte) in data.iter().enumerate().take(10) {
        // Of the tenth byte only the lowest bit fits; protobuf drops the others, and so does the shift.
        value |= u64::from(byte & 0x7f) << (7 * index);
        if *byte < 0x80 {
            *data = data.get(index + 1..).ok_or(Malformed)?;
            return Ok(value);
        }
    }
    Err(Malformed)
}

/// The fields of a message, in order.
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, size: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(size).ok_or(Malformed)?;
        self.0 = rest;
        Ok(head)
    }

    fn field(&mut self) -> Result<(u32, Value<'a>), Malformed> {
        let tag = take_varint(&mut self.0)?;
        let number = u32::try_from(tag >> 3).map_err(|_| Malformed)?;
        if number == 0 || tag > u64::from(u32::MAX) {
            return Err(Malformed);
        }
        let value = match tag & 7 {
            0 => Value::Varint(take_varint(&mut self.0)?),
            1 => Value::Fixed64(self.take(8)?.try_into().map_err(|_| Malformed)?),
            2 => {
                let size = take_varint(&mut self.0)?;
                Value::Bytes(self.take(usize::try_from(size).map_err(|_| Malformed)?)?)
            }
            5 => Value::Fixed32(self.take(4)?.try_into().map_err(|_| Malformed)?),
            _ => return Err(Malformed),
        };
        Ok((number, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.0.is_empty()).then(|| self.field())
    }
}

pub fn varint_size(value: u64) -> usize {
    (70 - (value | 1).leading_zeros() as usize) / 7
}

/// Size of a field of bytes with a number up to 15, its head included.
pub fn delimited_size(size: usize) -> usize {
    1 + varint_size(size as u64) + size
}

pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Write what stands before the content of a field of bytes; numbers up to 15 only.
pub fn put_head(out: &mut Vec<u8>, number: u8, size: usize) {
    out.push(number << 3 | 2);
    put_varint(out, size as u64);
}

pub fn put_bytes(out: &mut Vec<u8>, number: u8, content: &[u8]) {
    put_head(out, number, content.len());
    out.extend_from_slice(content);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_varint_is_read_back_as_it_was_written() {
        for value in [
            0,
            1,
            127,
            128,
            300,
            u64::from(u32::MAX),
            u64::MAX - 1,
            u64::MAX,
        ] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out.len(), varint_size(value));
            let mut rest = &out[..];
            assert_eq!(take_varint(&mut rest), Ok(value));
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn a_varint_without_end_is_malformed() {
        for data in [&[0x80_u8][..], &[0xff; 10], &[0xff; 20], &[]] {
            assert_eq!(take_varint(&mut &*data), Err(Malformed));
        }
    }

    #[test]
    fn every_cut_of_a_message_is_read_or_malformed() {
        let mut out = Vec::new();
        put_bytes(&mut out, 1, b"name");
        out.extend_from_slice(&[
            0x10, 0x96, 0x01, 0x1d, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7, 8,
        ]);
        let whole: Vec<_> = Fields(&out)
            .map(|field| field.expect("well formed"))
            .collect();
        assert_eq!(
            whole,
            [
                (1, Value::Bytes(b"name")),
                (2, Value::Varint(150)),
                (3, Value::Fixed32([1, 2, 3, 4])),
                (4, Value::Fixed64([1, 2, 3, 4, 5, 6, 7, 8])),
            ]
        );
        for end in 0..out.len() {
            let cut: Result<Vec<_>, _> = Fields(&out[..end]).collect();
            assert!(cut.map_or(true, |fields| fields.len() < 4));
        }
    }

    #[test]
    fn groups_field_zero_and_lengths_beyond_the_end_are_malformed() {
        for data in [
            &[0x0b_u8][..],
            &[0x00, 0x00],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f],
            &[0x0a, 5, 1],
        ] {
            assert_eq!(Fields(data).next(), Some(Err(Malformed)));
        }
    }
}
