use super::*;
use crate::wire::{put_bytes, put_varint};

fn tensor(dtype: u8, dims: &[u64], rest: &[u8]) -> Vec<u8> {
    let mut out = vec![0x08, dtype];
    let mut shape = Vec::new();
    for size in dims {
        let mut dim = vec![0x08];
        put_varint(&mut dim, *size);
        put_bytes(&mut shape, 2, &dim);
    }
    put_bytes(&mut out, 2, &shape);
    out.extend_from_slice(rest);
    out
}

fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, u64::from(number << 3 | 2));
    put_varint(&mut out, content.len() as u64);
    out.extend_from_slice(content);
    out
}

fn read(data: &[u8]) -> Result<Decoded<'_>, Declined> {
    Decoded::read(data, Limits::of(data))
}

#[test]
fn typed_fields_packed_and_single_and_contents_give_the_same_memory() {
    let memory = [1.5_f32.to_le_bytes(), 2.5_f32.to_le_bytes()].concat();
    let mut single = Vec::new();
    for number in memory.chunks(4) {
        single.push(5 << 3 | 5);
        single.extend_from_slice(number);
    }
    for rest in [field(5, &memory), single, field(4, &memory)] {
        let data = tensor(1, &[1, 2], &rest);
        let decoded = read(&data).expect("plain");
        assert_eq!(
            (decoded.dims.as_slice(), decoded.bytes()),
            (&[1, 2][..], &memory[..])
        );
    }
}

#[test]
fn integers_are_cut_to_their_type_and_those_that_do_not_fit_are_declined() {
    let minus_one = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    type Row<'a> = (u8, u32, &'a [u8], Option<&'a [u8]>);
    let table: [Row<'_>; 8] = [
        (3, 7, &minus_one, Some(&[0xff; 4])),
        (9, 10, &minus_one, Some(&[0xff; 8])),
        (6, 7, &minus_one, Some(&[0xff])),
        (4, 7, &minus_one, None),
        (4, 7, &[0xff, 0x01], Some(&[0xff])),
        (6, 7, &[0xff, 0x01], None),
        (10, 11, &[2], Some(&[1])),
        (19, 13, &[0x80, 0x80, 0x04], None),
    ];
    for (dtype, number, sent, expected) in table {
        let data = tensor(dtype, &[1], &field(number, sent));
        let found = read(&data).ok().map(|decoded| decoded.bytes().to_vec());
        assert_eq!(found.as_deref(), expected, "type {dtype}, {sent:?}");
    }
}

#[test]
fn more_or_fewer_values_than_the_shape_has_are_declined() {
    for dims in [
        &[0_u64][..],
        &[1],
        &[3],
        &[1 << 40],
        &[u64::MAX],
        &[1 << 62, 1 << 62],
    ] {
        for rest in [field(4, &[0; 8]), field(5, &[0; 8]), field(7, &[0, 0])] {
            let data = tensor(if rest[0] == 7 << 3 | 2 { 3 } else { 1 }, dims, &rest);
            assert_eq!(read(&data).map(|_| ()), Err(Declined), "{dims:?} {rest:?}");
        }
    }
}

#[test]
fn nothing_is_sent_for_a_tensor_without_elements() {
    for dtype in [1, 3, 7, 10] {
        let data = tensor(dtype, &[0, 5], &[]);
        assert!(read(&data).is_ok());
    }
    let data = tensor(1, &[0, 1 << 62, 1 << 62], &[]);
    assert_eq!(read(&data).map(|_| ()), Err(Declined));
}

#[test]
fn values_in_the_field_of_another_type_and_types_that_python_reads_are_declined() {
    for (dtype, rest) in [
        (1, field(7, &[1])),
        (3, field(5, &[0; 4])),
        (20, vec![]),
        (29, field(7, &[1])),
    ] {
        let data = tensor(dtype, &[1], &rest);
        assert_eq!(read(&data).map(|_| ()), Err(Declined));
    }
    let both = [field(4, &[0; 4]), field(5, &[0; 4])].concat();
    assert_eq!(read(&tensor(1, &[1], &both)).map(|_| ()), Err(Declined));
}

#[test]
fn strings_are_read_from_their_field_and_from_contents() {
    let sent = [field(8, b"ab"), field(8, b"")].concat();
    let content = field(4, &[2, 0, b'a', b'b']);
    for rest in [sent, content] {
        let data = tensor(7, &[2], &rest);
        let decoded = read(&data).expect("plain");
        assert!(
            matches!(decoded.values, Values::Strings(ref found) if found == &[&b"ab"[..], b""])
        );
    }
    for wrong in [
        &[9_u8, 0, b'a', b'b'][..],
        &[2, 0, b'a'],
        &[0x80, 0x80],
        &[2, 0, 1, 2, 3],
    ] {
        assert_eq!(
            read(&tensor(7, &[2], &field(4, wrong))).map(|_| ()),
            Err(Declined)
        );
    }
}

#[test]
fn of_a_large_message_nothing_is_read_that_grows() {
    let large = vec![0; 2 << 20];
    let limits = Limits::of(&large);
    for (dtype, number) in [(3, 7), (9, 10), (10, 11), (7, 8)] {
        let data = tensor(dtype, &[1], &field(number, &[1]));
        assert!(read(&data).is_ok());
        assert_eq!(Decoded::read(&data, limits).map(|_| ()), Err(Declined));
    }
    for rest in [field(5, &[0; 4]), field(4, &[0; 4])] {
        assert!(Decoded::read(&tensor(1, &[1], &rest), limits).is_ok());
    }
}
