//! Many requests' tensors as one, and parts of one tensor as many: what `slipway_server.batching.assembling` does.

use crate::predict::element_size;
use crate::tensorflow::{STRING, Tensor};

/// Rows of a tensor: `rows` of them from `start` on.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    pub tensor: &'a Tensor,
    pub start: usize,
    pub rows: usize,
}

/// Elements to copy, one after the other, into a tensor whose places they fill from the first to the last.
#[derive(Debug, PartialEq)]
struct Copy {
    part: usize,
    from: usize,
    count: usize,
}

/// Join parts, then `surplus` times the first row of the last part that has any.
///
/// Inner shapes that differ are brought to the largest size of each dimension, filled with each part's first element;
/// with zeros or empty strings where it has none. `None` without memory, or for tensors that have no rows.
pub fn joined(parts: &[Rows<'_>], surplus: usize) -> Option<Tensor> {
    let dtype = parts.first()?.tensor.dtype();
    let mut inners = Vec::with_capacity(parts.len());
    for part in parts {
        let dims = part.tensor.dims();
        if part.tensor.dtype() != dtype {
            return None;
        }
        inners.push((part.start, part.rows, dims.get(1..)?.to_vec()));
    }
    let wide = widest(inners.iter().map(|one| one.2.as_slice()))?;
    let copies = copies(&inners, &wide, surplus)?;
    let rows: usize = parts.iter().map(|part| part.rows).sum::<usize>() + surplus;
    let mut dims = vec![i64::try_from(rows).ok()?];
    dims.extend(&wide);
    if dtype == STRING {
        let count = elements(&dims)?;
        let mut strings: Vec<&[u8]> = Vec::with_capacity(count);
        for copy in &copies {
            match parts.get(copy.part) {
                Some(part) => strings.extend(part.tensor.strings_at(copy.from, copy.count)?),
                None => strings.extend(std::iter::repeat_n(&[][..], copy.count)),
            }
        }
        return Tensor::of_strings(&dims, &strings).filter(|_| strings.len() == count);
    }
    let size = element_size(dtype)?;
    let mut tensor = Tensor::new(dtype, &dims, elements(&dims)?.checked_mul(size)?)?;
    tensor.fill_from(copies.iter().map(|copy| {
        let (from, bytes) = (copy.from * size, copy.count * size);
        let part = parts.get(copy.part);
        (
            part.map(|part| {
                part.tensor
                    .data()
                    .get(from..from + bytes)
                    .unwrap_or_default()
            }),
            bytes,
        )
    }))?;
    Some(tensor)
}

fn widest<'a>(mut inners: impl Iterator<Item = &'a [i64]>) -> Option<Vec<i64>> {
    let mut wide = inners.next()?.to_vec();
    for inner in inners {
        if inner.len() != wide.len() {
            return None;
        }
        for (most, size) in wide.iter_mut().zip(inner) {
            *most = (*most).max(*size);
        }
    }
    Some(wide)
}

fn elements(dims: &[i64]) -> Option<usize> {
    dims.iter().try_fold(1_usize, |all, size| {
        all.checked_mul(usize::try_from(*size).ok()?)
    })
}

/// A part that is not there stands for zeros.
const NOTHING: usize = usize::MAX;

fn copies(parts: &[(usize, usize, Vec<i64>)], wide: &[i64], surplus: usize) -> Option<Vec<Copy>> {
    let mut out = Vec::new();
    let mut last = None;
    for (part, (start, rows, inner)) in parts.iter().enumerate() {
        let row = elements(inner)?;
        if inner == wide {
            push(&mut out, part, start * row, rows * row);
        } else {
            let filler = if row > 0 && *rows > 0 {
                (part, start * row)
            } else {
                (NOTHING, 0)
            };
            for index in *start..start + rows {
                widened(&mut out, part, index * row, inner, wide, filler)?;
            }
        }
        if *rows > 0 {
            last = Some((part, *start, inner, row));
        }
    }
    if surplus > 0 {
        let (part, start, inner, row) = last?;
        for _ in 0..surplus {
            if inner == wide {
                push(&mut out, part, start * row, row);
            } else {
                let filler = if row > 0 {
                    (part, start * row)
                } else {
                    (NOTHING, 0)
                };
                widened(&mut out, part, start * row, inner, wide, filler)?;
            }
        }
    }
    Some(out)
}

fn push(out: &mut Vec<Copy>, part: usize, from: usize, count: usize) {
    if count > 0 {
        out.push(Copy { part, from, count });
    }
}

/// One row, or one slice of it, that begins at `from`, in the larger shape.
fn widened(
    out: &mut Vec<Copy>,
    part: usize,
    from: usize,
    inner: &[i64],
    wide: &[i64],
    filler: (usize, usize),
) -> Option<()> {
    let (Some((size, inner)), Some((most, wide))) = (inner.split_first(), wide.split_first())
    else {
        push(out, part, from, 1);
        return Some(());
    };
    let (size, most) = (usize::try_from(*size).ok()?, usize::try_from(*most).ok()?);
    let (below, below_wide) = (elements(inner)?, elements(wide)?);
    if inner == wide {
        push(out, part, from, size * below);
    } else {
        for index in 0..size {
            widened(out, part, from + index * below, inner, wide, filler)?;
        }
    }
    let missing = (most - size).checked_mul(below_wide)?;
    if filler.0 == NOTHING {
        push(out, NOTHING, 0, missing);
    } else {
        for _ in 0..missing {
            push(out, filler.0, filler.1, 1);
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the copies make of parts whose elements are 10, 11, … and 20, 21, …; 0 is nothing.
    fn made(parts: &[(usize, usize, Vec<i64>)], surplus: usize) -> Vec<usize> {
        let wide = widest(parts.iter().map(|one| one.2.as_slice())).expect("one rank");
        let copies = copies(parts, &wide, surplus).expect("a shape");
        let each = copies.iter().flat_map(|copy| {
            (0..copy.count).map(|offset| match copy.part {
                NOTHING => 0,
                part => 10 * (part + 1) + copy.from + offset,
            })
        });
        each.collect()
    }

    #[test]
    fn parts_of_one_shape_follow_each_other_from_their_own_rows_on() {
        assert_eq!(
            made(&[(1, 1, vec![2]), (0, 2, vec![2])], 0),
            [12, 13, 20, 21, 22, 23]
        );
    }

    #[test]
    fn a_batch_is_filled_up_with_the_first_row_of_the_last_part_that_has_one() {
        assert_eq!(
            made(&[(1, 2, vec![1]), (0, 0, vec![1])], 2),
            [11, 12, 11, 11]
        );
    }

    #[test]
    fn smaller_inner_shapes_are_filled_with_the_first_element() {
        assert_eq!(
            made(&[(1, 1, vec![1, 2]), (0, 1, vec![2, 1])], 1),
            [12, 13, 12, 12, 20, 20, 21, 20, 20, 20, 21, 20]
        );
    }

    #[test]
    fn what_has_no_element_is_filled_with_nothing() {
        assert_eq!(made(&[(0, 2, vec![0]), (0, 1, vec![1])], 0), [0, 0, 20]);
        assert_eq!(made(&[(0, 1, vec![0, 2]), (0, 1, vec![2, 0])], 0), [0; 8]);
    }

    #[test]
    fn other_ranks_are_not_joined() {
        let ranks: [&[i64]; 2] = [&[1], &[1, 1]];
        assert_eq!(widest(ranks.into_iter()), None);
    }
}
