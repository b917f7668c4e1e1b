//! The PredictRequest: who is asked for what, with which tensors. Field numbers: tensorflow_serving/apis/predict.proto.

use super::Declined;
use crate::wire::{Fields, Value};

/// Which version is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Asked<'a> {
    Newest,
    Version(i64),
    Label(&'a [u8]),
}

#[derive(Debug)]
pub struct PredictRequest<'a> {
    pub model: &'a [u8],
    pub asked: Asked<'a>,
    /// Empty means `serving_default`.
    pub signature: &'a [u8],
    /// Alias and wire bytes of each TensorProto; no alias occurs twice.
    pub inputs: Vec<(&'a [u8], &'a [u8])>,
    pub output_filter: Vec<&'a [u8]>,
}

/// Real requests have a few; what has more is not compared with itself here.
const MAX_INPUTS: usize = 64;

/// Read all but the tensors.
pub fn read_request(data: &[u8]) -> Result<PredictRequest<'_>, Declined> {
    let mut spec: Option<&[u8]> = None;
    let mut inputs: Vec<(&[u8], &[u8])> = Vec::new();
    let mut output_filter: Vec<&[u8]> = Vec::new();
    for field in Fields(data) {
        match field? {
            // Messages that occur twice are merged, and later entries of a map win: none of this is the plain case.
            (1, Value::Bytes(value)) if spec.is_none() => spec = Some(value),
            (2, Value::Bytes(value)) if inputs.len() < MAX_INPUTS => inputs.push(entry(value)?),
            (3, Value::Bytes(value)) if output_filter.len() < MAX_INPUTS => {
                output_filter.push(value);
            }
            _ => return Err(Declined),
        }
    }
    if !distinct(inputs.iter().map(|input| input.0)) || !distinct(output_filter.iter().copied()) {
        return Err(Declined);
    }
    let (model, asked, signature) = read_spec(spec.ok_or(Declined)?)?;
    Ok(PredictRequest {
        model,
        asked,
        signature,
        inputs,
        output_filter,
    })
}

fn distinct<'a>(names: impl Iterator<Item = &'a [u8]> + Clone) -> bool {
    names
        .clone()
        .enumerate()
        .all(|(index, name)| !names.clone().take(index).any(|other| other == name))
}

fn entry(data: &[u8]) -> Result<(&[u8], &[u8]), Declined> {
    let (mut alias, mut tensor) = (None, None);
    for field in Fields(data) {
        match field? {
            (1, Value::Bytes(value)) if alias.is_none() => alias = Some(value),
            (2, Value::Bytes(value)) if tensor.is_none() => tensor = Some(value),
            _ => return Err(Declined),
        }
    }
    alias.zip(tensor).ok_or(Declined)
}

fn read_spec(data: &[u8]) -> Result<(&[u8], Asked<'_>, &[u8]), Declined> {
    let (mut model, mut signature) = (None, None);
    let mut asked = Asked::Newest;
    for field in Fields(data) {
        match field? {
            (1, Value::Bytes(value)) if model.is_none() => model = Some(value),
            (2, Value::Bytes(value)) if asked == Asked::Newest => {
                asked = Asked::Version(read_int64(value)?);
            }
            (3, Value::Bytes(value)) if signature.is_none() => signature = Some(value),
            // An empty label means the newest version.
            (4, Value::Bytes(value)) if asked == Asked::Newest && !value.is_empty() => {
                asked = Asked::Label(value);
            }
            _ => return Err(Declined),
        }
    }
    Ok((model.ok_or(Declined)?, asked, signature.unwrap_or_default()))
}

/// `google.protobuf.Int64Value`.
fn read_int64(data: &[u8]) -> Result<i64, Declined> {
    let mut value = 0;
    for field in Fields(data) {
        match field? {
            (1, Value::Varint(number)) => value = number.cast_signed(),
            _ => return Err(Declined),
        }
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::put_bytes;

    fn message(parts: &[(u8, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        for (number, content) in parts {
            put_bytes(&mut out, *number, content);
        }
        out
    }

    fn spec() -> Vec<u8> {
        message(&[(1, b"m"), (2, &[0x08, 7]), (3, b"s")])
    }

    fn input() -> Vec<u8> {
        message(&[(1, b"x"), (2, &[0x08, 1])])
    }

    #[test]
    fn the_plain_case_is_read() {
        let data = message(&[(1, &spec()), (2, &input()), (3, b"y"), (3, b"z")]);
        let request = read_request(&data).expect("plain");
        assert_eq!(request.model, b"m");
        assert_eq!(request.asked, Asked::Version(7));
        assert_eq!(request.signature, b"s");
        assert_eq!(request.inputs, [(&b"x"[..], &[0x08_u8, 1][..])]);
        assert_eq!(request.output_filter, [b"y", b"z"]);
    }

    #[test]
    fn a_label_and_a_negative_version_are_read() {
        let labelled = message(&[(1, &message(&[(1, b"m"), (4, b"stable")]))]);
        assert_eq!(
            read_request(&labelled).expect("plain").asked,
            Asked::Label(b"stable")
        );
        let minus = [
            0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1,
        ];
        let data = message(&[(1, &message(&[(1, b"m"), (2, &minus)]))]);
        assert_eq!(
            read_request(&data).expect("plain").asked,
            Asked::Version(-1)
        );
    }

    #[test]
    fn what_protobuf_would_merge_or_skip_is_declined() {
        let (spec, input) = (spec(), input());
        let both = message(&[(1, b"m"), (2, &[0x08, 7]), (4, b"stable")]);
        let twice = message(&[(1, b"x"), (1, b"y"), (2, &[])]);
        let table: [Vec<u8>; 8] = [
            message(&[(2, &input)]),
            message(&[(1, &spec), (1, &spec)]),
            message(&[(1, &spec), (2, &input), (2, &input)]),
            message(&[(1, &spec), (3, b"y"), (3, b"y")]),
            message(&[(1, &spec), (5, b"later field")]),
            message(&[(1, &both)]),
            message(&[(1, &spec), (2, &twice)]),
            message(&[(1, &message(&[(3, b"no name")]))]),
        ];
        for data in table {
            assert_eq!(read_request(&data).map(|_| ()), Err(Declined), "{data:?}");
        }
    }
}
