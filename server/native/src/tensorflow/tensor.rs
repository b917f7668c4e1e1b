//! A tensor that TensorFlow has allocated, and its strings.

use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

use super::api::{Api, Pointer, api};

/// Bytes of a `TF_TString`.
pub const STRING_SIZE: usize = 24;
pub const STRING: i32 = 7;

/// A `TF_Tensor`, released when dropped.
///
/// The strings of a tensor that was made here are its own (`own_strings`): TensorFlow may hand the same memory out as an
/// output, so inputs must live until the outputs have been read.
pub struct Tensor {
    api: &'static Api,
    pointer: Pointer,
    own_strings: bool,
}

// SAFETY: a tensor has one owner here, and TensorFlow counts references to its buffer atomically.
unsafe impl Send for Tensor {}
// SAFETY: whatever changes a tensor has it for itself (`&mut`); all the rest only reads.
unsafe impl Sync for Tensor {}

impl Tensor {
    /// Allocate a tensor; its memory has no content yet. `None` when there is no memory, or no API.
    pub fn new(dtype: i32, dims: &[i64], bytes: usize) -> Option<Tensor> {
        let api = api()?;
        let rank = c_int::try_from(dims.len()).ok()?;
        // SAFETY: as many dimensions are there as are announced.
        let pointer = unsafe { (api.AllocateTensor)(dtype, dims.as_ptr(), rank, bytes) };
        if pointer.is_null() {
            return None;
        }
        let tensor = Tensor {
            api,
            pointer,
            own_strings: false,
        };
        (tensor.byte_size() == bytes).then_some(tensor)
    }

    /// Make a tensor of strings, as many as its dimensions say.
    pub fn of_strings(dims: &[i64], strings: &[&[u8]]) -> Option<Tensor> {
        let mut tensor = Tensor::new(STRING, dims, strings.len().checked_mul(STRING_SIZE)?)?;
        let api = tensor.api;
        let base = tensor.data_pointer();
        for (index, string) in strings.iter().enumerate() {
            // SAFETY: the tensor has room for as many strings; each is initialised before it is filled.
            unsafe {
                let place = base.add(index * STRING_SIZE).cast::<c_void>();
                (api.StringInit)(place);
                (api.StringCopy)(place, string.as_ptr().cast(), string.len());
            }
        }
        tensor.own_strings = true;
        Some(tensor)
    }

    /// Take over a tensor that TensorFlow has returned; `None` for null.
    pub(super) fn from_raw(api: &'static Api, pointer: Pointer) -> Option<Tensor> {
        (!pointer.is_null()).then_some(Tensor {
            api,
            pointer,
            own_strings: false,
        })
    }

    pub(super) fn raw(&self) -> Pointer {
        self.pointer
    }

    /// Take over a `TF_Tensor` by its address, whose strings are TensorFlow's to release; `None` for null.
    pub fn at(address: usize) -> Option<Tensor> {
        Tensor::from_raw(api()?, address as _)
    }

    /// Give a tensor of numbers away by its address; whoever takes it deletes it.
    pub fn into_address(self) -> usize {
        let this = std::mem::ManuallyDrop::new(self);
        this.pointer as usize
    }

    fn data_pointer(&self) -> *mut u8 {
        // SAFETY: the tensor lives.
        unsafe { (self.api.TensorData)(self.pointer) }.cast()
    }

    pub fn byte_size(&self) -> usize {
        // SAFETY: the tensor lives.
        unsafe { (self.api.TensorByteSize)(self.pointer) }
    }

    /// Its memory: of numbers their values, of strings their `TF_TString`s.
    pub fn data(&self) -> &[u8] {
        let (at, size) = (self.data_pointer(), self.byte_size());
        if at.is_null() || size == 0 {
            return &[];
        }
        // SAFETY: TensorFlow says that so many bytes are there; they live as long as the tensor.
        unsafe { std::slice::from_raw_parts(at, size) }
    }

    /// Copy all values in; as many bytes as the tensor has. False otherwise.
    pub fn fill(&mut self, from: &[u8]) -> bool {
        if from.len() != self.byte_size() {
            return false;
        }
        if !from.is_empty() {
            // SAFETY: so many bytes are there on both sides, and the tensor is new, so nobody else has them.
            unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), self.data_pointer(), from.len()) }
        }
        true
    }

    /// Copy all values in, piece by piece: memory, or so many zeros. `None` unless they are as many bytes as it has.
    pub fn fill_from<'a>(
        &mut self,
        pieces: impl Iterator<Item = (Option<&'a [u8]>, usize)>,
    ) -> Option<()> {
        let (base, size) = (self.data_pointer(), self.byte_size());
        let mut at = 0_usize;
        for (piece, bytes) in pieces {
            let end = at.checked_add(bytes).filter(|end| *end <= size)?;
            if bytes == 0 {
                continue;
            }
            // SAFETY: so many bytes are there from `at` on, and the tensor is new, so nobody else has them.
            unsafe {
                match piece {
                    Some(piece) if piece.len() == bytes => {
                        std::ptr::copy_nonoverlapping(piece.as_ptr(), base.add(at), bytes);
                    }
                    Some(_) => return None,
                    None => std::ptr::write_bytes(base.add(at), 0, bytes),
                }
            }
            at = end;
        }
        (at == size).then_some(())
    }

    pub fn dtype(&self) -> i32 {
        // SAFETY: the tensor lives.
        unsafe { (self.api.TensorType)(self.pointer) }
    }

    pub fn dims(&self) -> Vec<i64> {
        // SAFETY: the tensor lives, and only its own dimensions are asked for.
        unsafe {
            let rank = (self.api.NumDims)(self.pointer);
            (0..rank)
                .map(|index| (self.api.Dim)(self.pointer, index))
                .collect()
        }
    }

    /// `count` of its strings, from one on; `None` where there are not as many.
    pub fn strings_at(&self, from: usize, count: usize) -> Option<Strings<'_>> {
        let all = self.strings();
        let end = from.checked_add(count).filter(|end| *end <= all.count)?;
        Some(Strings {
            next: from,
            count: end,
            ..all
        })
    }

    /// Its strings; none unless it is a tensor of strings.
    pub fn strings(&self) -> Strings<'_> {
        let count = if self.dtype() == STRING {
            self.byte_size() / STRING_SIZE
        } else {
            0
        };
        Strings {
            tensor: self,
            next: 0,
            count,
        }
    }
}

impl Drop for Tensor {
    fn drop(&mut self) {
        if self.own_strings {
            let base = self.data_pointer();
            for index in 0..self.byte_size() / STRING_SIZE {
                // SAFETY: these strings were made by `of_strings`; nobody reads them any more.
                unsafe { (self.api.StringDealloc)(base.add(index * STRING_SIZE).cast()) }
            }
        }
        // SAFETY: released once, here.
        unsafe { (self.api.DeleteTensor)(self.pointer) }
        self.pointer = null_mut();
    }
}

/// The strings of a tensor, in order.
pub struct Strings<'a> {
    tensor: &'a Tensor,
    next: usize,
    count: usize,
}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.next >= self.count {
            return None;
        }
        let api = self.tensor.api;
        // SAFETY: within the tensor; what a string says of its place and size is TensorFlow's own.
        unsafe {
            let place = self
                .tensor
                .data_pointer()
                .add(self.next * STRING_SIZE)
                .cast::<c_void>();
            self.next += 1;
            let (at, size) = (
                (api.StringGetDataPointer)(place),
                (api.StringGetSize)(place),
            );
            if at.is_null() || size == 0 {
                return Some(&[]);
            }
            Some(std::slice::from_raw_parts(at.cast(), size))
        }
    }
}
