//! The functions of TensorFlow's C API, found in the library that the process has loaded already.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::OnceLock;

use super::session::Output;

pub type Pointer = *mut c_void;

macro_rules! api {
    ($($name:ident: fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// One pointer for each function, without the `TF_` of its name.
        #[allow(non_snake_case)]
        pub struct Api {
            $(pub $name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl Api {
            fn find(library: Pointer) -> Result<Api, String> {
                Ok(Api {
                    $($name: {
                        let symbol = concat!("TF_", stringify!($name), "\0");
                        // SAFETY: the handle is of an open library, the name ends with a zero.
                        let found = unsafe { libc::dlsym(library, symbol.as_ptr().cast()) };
                        if found.is_null() {
                            return Err(format!("it has no function TF_{}", stringify!($name)));
                        }
                        // SAFETY: the types are those of tensorflow/c/c_api.h and tf_tstring.h.
                        unsafe {
                            std::mem::transmute::<
                                Pointer,
                                unsafe extern "C" fn($($argument),*) $(-> $result)?,
                            >(found)
                        }
                    },)*
                })
            }
        }
    };
}

api! {
    NewStatus: fn() -> Pointer;
    DeleteStatus: fn(Pointer);
    GetCode: fn(Pointer) -> c_int;
    Message: fn(Pointer) -> *const c_char;
    GraphOperationByName: fn(Pointer, *const c_char) -> Pointer;
    OperationNumOutputs: fn(Pointer) -> c_int;
    AllocateTensor: fn(c_int, *const i64, c_int, usize) -> Pointer;
    DeleteTensor: fn(Pointer);
    TensorData: fn(Pointer) -> Pointer;
    TensorByteSize: fn(Pointer) -> usize;
    TensorType: fn(Pointer) -> c_int;
    NumDims: fn(Pointer) -> c_int;
    Dim: fn(Pointer, c_int) -> i64;
    StringInit: fn(Pointer);
    StringCopy: fn(Pointer, *const c_char, usize);
    StringDealloc: fn(Pointer);
    StringGetDataPointer: fn(*const c_void) -> *const c_char;
    StringGetSize: fn(*const c_void) -> usize;
    SessionRun: fn(
        Pointer, *const c_void, *const Output, *const Pointer, c_int, *const Output, *mut Pointer,
        c_int, *const Pointer, c_int, Pointer, Pointer
    );
}

static API: OnceLock<Api> = OnceLock::new();

/// Find the functions in a library; again for a library that is known already does nothing.
pub fn bind(path: &str) -> Result<(), String> {
    if API.get().is_some() {
        return Ok(());
    }
    let name = CString::new(path).map_err(|_| "the path has a zero".to_owned())?;
    // SAFETY: a plain call with a string that ends with a zero. The library stays open until the process ends.
    let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if library.is_null() {
        return Err(last_error());
    }
    let _ = API.set(Api::find(library)?);
    Ok(())
}

/// The functions; `None` before `bind`.
pub fn api() -> Option<&'static Api> {
    API.get()
}

fn last_error() -> String {
    // SAFETY: dlerror returns a string that ends with a zero, or null.
    unsafe {
        let text = libc::dlerror();
        if text.is_null() {
            "dlopen failed".to_owned()
        } else {
            CStr::from_ptr(text).to_string_lossy().into_owned()
        }
    }
}
