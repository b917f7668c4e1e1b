//! A PredictRequest from its bytes to the bytes of its answer, without Python.

use std::time::Instant;

use crate::models::{Models, Signature, Version};
use crate::predict::{
    Answer, Declined, Decoded, Limits, PredictRequest, read_request, write_response,
};
use crate::tensorflow::{Output, Tensor};

const DEFAULT_SIGNATURE: &[u8] = b"serving_default";

/// How to answer a request.
#[derive(Clone, Copy)]
pub struct Rule {
    /// Write outputs as `tensor_content`.
    pub as_content: bool,
    /// Leave a signature whose runs take long: the caller is a thread that others wait for.
    pub only_quick: bool,
}

pub enum Verdict {
    /// A whole gRPC message.
    Answer(Vec<u8>),
    /// It would take long: to be asked again, on a thread that may.
    Slow,
    Declined,
}

/// Answer a request that has arrived at `arrived`, unless its deadline has passed.
pub fn predict(
    models: &Models,
    message: &[u8],
    rule: Rule,
    arrived: Instant,
    deadline: Option<Instant>,
) -> Verdict {
    match attempt(models, message, rule, arrived, deadline) {
        Ok(verdict) => verdict,
        Err(Declined) => Verdict::Declined,
    }
}

fn attempt(
    models: &Models,
    message: &[u8],
    rule: Rule,
    arrived: Instant,
    deadline: Option<Instant>,
) -> Result<Verdict, Declined> {
    let request = read_request(message)?;
    let version = models.find(request.model, request.asked).ok_or(Declined)?;
    let _use = version.usage.begin().ok_or(Declined)?;
    let key = if request.signature.is_empty() {
        DEFAULT_SIGNATURE
    } else {
        request.signature
    };
    let signature = version.signatures.get(key).ok_or(Declined)?;
    if rule.only_quick && !signature.is_quick() {
        return Ok(Verdict::Slow);
    }
    let chosen = choose(signature, &request)?;
    let values = read_inputs(signature, &request, Limits::of(message))?;
    if deadline.is_some_and(|end| Instant::now() >= end) {
        return Err(Declined);
    }
    let began = Instant::now();
    let outputs = run(&version, signature, &values, &chosen)?;
    let took = began.elapsed();
    signature.took(took);
    let named: Vec<(&str, &Tensor)> = chosen
        .iter()
        .map(|(alias, place)| Some((*alias, outputs.get(*place)?)))
        .collect::<Option<_>>()
        .ok_or(Declined)?;
    let answer = Answer {
        model: &version.model,
        version: version.number,
        signature: &signature.key,
        as_content: rule.as_content,
    };
    let reply = write_response(&answer, &named)?;
    // Only now: an output may be an input's own memory.
    drop(values);
    signature.series.add(arrived.elapsed(), took);
    Ok(Verdict::Answer(reply))
}

/// The outputs to return, in the order of the answer: alias, and place among those that are run.
fn choose<'a>(
    signature: &'a Signature,
    request: &PredictRequest<'_>,
) -> Result<Vec<(&'a str, usize)>, Declined> {
    if request.output_filter.is_empty() {
        let all = signature.outputs.iter().enumerate();
        return Ok(all
            .map(|(place, output)| (output.0.as_str(), place))
            .collect());
    }
    let wanted: Vec<usize> = request
        .output_filter
        .iter()
        .map(|alias| {
            signature
                .outputs
                .iter()
                .position(|output| output.0.as_bytes() == *alias)
        })
        .collect::<Option<_>>()
        .ok_or(Declined)?;
    let mut subset = wanted.clone();
    subset.sort_unstable();
    if subset.len() != signature.outputs.len() && !signature.admits(&subset) {
        return Err(Declined);
    }
    wanted
        .iter()
        .map(|index| {
            let alias = &signature.outputs.get(*index)?.0;
            Some((alias.as_str(), subset.binary_search(index).ok()?))
        })
        .collect::<Option<_>>()
        .ok_or(Declined)
}

fn read_inputs(
    signature: &Signature,
    request: &PredictRequest<'_>,
    limits: Limits,
) -> Result<Vec<Tensor>, Declined> {
    // Aliases are distinct on both sides: as many, and each found, means the same.
    if request.inputs.len() != signature.inputs.len() {
        return Err(Declined);
    }
    let mut values = Vec::with_capacity(signature.inputs.len());
    for input in &signature.inputs {
        let sent = request
            .inputs
            .iter()
            .find(|sent| sent.0 == input.alias.as_bytes());
        let decoded = Decoded::read(sent.ok_or(Declined)?.1, limits)?;
        if decoded.dtype != input.dtype {
            return Err(Declined);
        }
        let rows = decoded.dims.first();
        if signature.rows != 0 && input.has_rows && rows.is_some_and(|rows| *rows != signature.rows)
        {
            return Err(Declined);
        }
        values.push(decoded.tensor()?);
    }
    Ok(values)
}

fn run(
    version: &Version,
    signature: &Signature,
    values: &[Tensor],
    chosen: &[(&str, usize)],
) -> Result<Vec<Tensor>, Declined> {
    let feeds: Vec<Output> = signature.inputs.iter().map(|input| input.tensor).collect();
    // Always in the signature's order, whatever order was asked for: TensorFlow prepares each order anew.
    let fetches: Vec<Output> = signature
        .outputs
        .iter()
        .filter(|output| chosen.iter().any(|one| one.0 == output.0))
        .map(|output| output.1)
        .collect();
    let session = version.session.as_ref().ok_or(Declined)?;
    session.run(&feeds, values, &fetches).map_err(|_| Declined)
}
