//! A PredictRequest from its bytes to the bytes of its answer, without Python.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::batching::{Batches, Begun, Failure, Input, Lane, Outputs, Pending, Request, begin};
use crate::models::{InUse, Models, Signature, Version};
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
    /// The request's number: below the rate of its model, it is left to Python, which logs it.
    pub chance: f64,
    /// Leave a signature whose runs take long: the caller is a thread that others wait for.
    pub only_quick: bool,
}

pub enum Verdict {
    /// A whole gRPC message.
    Answer(Vec<u8>),
    /// It would take long: to be asked again, on a thread that may.
    Slow,
    /// It waits in a queue, or runs in a batch.
    Queued(Box<Queued>),
    /// A batch could not answer it; Python words and counts the error.
    Failed(Failure),
    Declined,
}

/// When a request came, and until when it wants its answer.
#[derive(Clone, Copy)]
pub struct Times {
    pub arrived: Instant,
    pub deadline: Option<Instant>,
}

/// What a request that waits keeps: it counts until no run needs its tensors any more, also when its client has gone.
pub type Keep<'a> = &'a dyn Fn() -> Box<dyn Send + Sync>;

/// Answer a request, unless its deadline has passed.
pub fn predict(
    models: &Models,
    message: &[u8],
    rule: Rule,
    times: Times,
    keep: Keep<'_>,
) -> Verdict {
    match attempt(models, message, rule, times, keep) {
        Ok(verdict) => verdict,
        Err(Declined) => Verdict::Declined,
    }
}

/// A request whose answer is written when its batch has run. Dropping it withdraws what still waits.
pub struct Queued {
    pending: Pending,
    reply: Reply,
}

impl Queued {
    pub async fn answer(self) -> Verdict {
        match self.pending.answer().await {
            Ok(outputs) => self.reply.of(&outputs).unwrap_or(Verdict::Declined),
            Err(failure) => Verdict::Failed(failure),
        }
    }
}

fn attempt(
    models: &Models,
    message: &[u8],
    rule: Rule,
    times: Times,
    keep: Keep<'_>,
) -> Result<Verdict, Declined> {
    let request = read_request(message)?;
    if models.rates.keep(request.model, rule.chance) {
        return Err(Declined);
    }
    let found = models.find(request.model, request.asked).ok_or(Declined)?;
    let version = InUse::begin(found).ok_or(Declined)?;
    let key = if request.signature.is_empty() {
        DEFAULT_SIGNATURE
    } else {
        request.signature
    };
    let signature = version.signatures.get(key).ok_or(Declined)?;
    // Batches have threads of their own, so whoever joins one may be in a hurry.
    if rule.only_quick && version.batches.is_none() && !signature.is_quick() {
        return Ok(Verdict::Slow);
    }
    let chosen = choose(signature, &request)?;
    let values = read_inputs(signature, &request, Limits::of(message))?;
    if times.deadline.is_some_and(|end| Instant::now() >= end) {
        return Err(Declined);
    }
    let lane = version.batches.as_ref();
    let lane = lane.and_then(|batches| lane_of(batches, key, &chosen));
    if let Some(lane) = lane {
        // Inputs that have no rows, or different ones, get Python's words.
        let rows = lane.rows(&values).map_err(|_| Declined)?;
        if lane.fits(&values) {
            let here = !rule.only_quick || signature.is_quick();
            let reply = Reply {
                key: key.to_vec(),
                chosen,
                as_content: rule.as_content,
                arrived: times.arrived,
                began: Instant::now(),
                version: Arc::new(version),
            };
            return joined(&lane, values, rows, here, times.deadline, reply, keep);
        }
        if rule.only_quick && !signature.is_quick() {
            return Ok(Verdict::Slow);
        }
    }
    let began = Instant::now();
    let outputs = run(&version, signature, &values, &chosen)?;
    let took = began.elapsed();
    signature.took(took);
    let reply = write(&version, signature, &chosen, &outputs, rule.as_content)?;
    // Only now: an output may be an input's own memory.
    drop(values);
    signature.series.add(times.arrived.elapsed(), took);
    Ok(Verdict::Answer(reply))
}

fn lane_of(batches: &Batches, key: &[u8], chosen: &Chosen) -> Option<Arc<Lane>> {
    batches.lane(key, &chosen.run)
}

fn joined(
    lane: &Arc<Lane>,
    tensors: Vec<Tensor>,
    rows: usize,
    here: bool,
    deadline: Option<Instant>,
    reply: Reply,
    keep: Keep<'_>,
) -> Result<Verdict, Declined> {
    let held = Box::new((keep(), Arc::clone(&reply.version)));
    let request = Request {
        input: Arc::new(Input { tensors, held }),
        rows,
        deadline,
    };
    match begin(lane, request, here) {
        Begun::Done(Ok(outputs)) => reply.of(&outputs),
        Begun::Done(Err(failure)) => Ok(Verdict::Failed(failure)),
        Begun::Waiting(pending) => Ok(Verdict::Queued(Box::new(Queued { pending, reply }))),
    }
}

/// How to answer a request when its outputs are there.
struct Reply {
    version: Arc<InUse>,
    key: Vec<u8>,
    chosen: Chosen,
    as_content: bool,
    arrived: Instant,
    began: Instant,
}

impl Reply {
    fn of(&self, outputs: &Outputs) -> Result<Verdict, Declined> {
        let signature = self.version.signatures.get(&self.key).ok_or(Declined)?;
        signature.took(outputs.took());
        let tensors = outputs.tensors();
        let reply = write(
            &self.version,
            signature,
            &self.chosen,
            tensors,
            self.as_content,
        )?;
        let run: Duration = self.began.elapsed();
        signature.series.add(self.arrived.elapsed(), run);
        Ok(Verdict::Answer(reply))
    }
}

fn write(
    version: &Version,
    signature: &Signature,
    chosen: &Chosen,
    outputs: &[Tensor],
    as_content: bool,
) -> Result<Vec<u8>, Declined> {
    let named: Vec<(&str, &Tensor)> = chosen
        .wanted
        .iter()
        .map(|(index, place)| {
            let alias = signature.outputs.get(*index)?.0.as_str();
            Some((alias, outputs.get(*place)?))
        })
        .collect::<Option<_>>()
        .ok_or(Declined)?;
    let answer = Answer {
        model: &version.model,
        version: version.number,
        signature: &signature.key,
        as_content,
    };
    write_response(&answer, &named)
}

/// Which outputs to run and to return.
struct Chosen {
    /// Places among the signature's outputs, ascending, whatever order was asked for: TensorFlow prepares each order
    /// anew.
    run: Vec<usize>,
    /// In the order of the answer: place among the signature's outputs, and among those that are run.
    wanted: Vec<(usize, usize)>,
}

fn choose(signature: &Signature, request: &PredictRequest<'_>) -> Result<Chosen, Declined> {
    if request.output_filter.is_empty() {
        let all = 0..signature.outputs.len();
        return Ok(Chosen {
            run: all.clone().collect(),
            wanted: all.map(|place| (place, place)).collect(),
        });
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
    let mut run = wanted.clone();
    run.sort_unstable();
    if run.len() != signature.outputs.len() && !signature.admits(&run) {
        return Err(Declined);
    }
    let places = wanted
        .iter()
        .map(|index| Some((*index, run.binary_search(index).ok()?)));
    let wanted = places.collect::<Option<_>>().ok_or(Declined)?;
    Ok(Chosen { run, wanted })
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
    chosen: &Chosen,
) -> Result<Vec<Tensor>, Declined> {
    let feeds: Vec<Output> = signature.inputs.iter().map(|input| input.tensor).collect();
    let fetches = chosen.run.iter().map(|place| signature.outputs.get(*place));
    let fetches: Vec<Output> = fetches
        .map(|output| Some(output?.1))
        .collect::<Option<_>>()
        .ok_or(Declined)?;
    let session = version.session.as_ref().ok_or(Declined)?;
    session.run(&feeds, values, &fetches).map_err(|_| Declined)
}
