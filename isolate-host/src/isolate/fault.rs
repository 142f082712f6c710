//! How a guest fails: never the host's fault, never another tenant's concern.

use std::time::Duration;

use super::limits::CpuLimitExceeded;
use crate::emscripten::process::Exited;

/// How a guest failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuestFault {
    #[error("the worker raised an exception: {message}")]
    Exception { message: String },
    #[error("the worker's interpreter crashed: {message}")]
    Trap { message: String },
    #[error("the worker ended its own process with exit code {code}")]
    Exited { code: i32 },
    #[error("the worker used more than {limit:?} of CPU time without pausing")]
    CpuLimit { limit: Duration },
    #[error("the worker needed more than {limit_bytes} bytes of memory")]
    MemoryLimit { limit_bytes: usize },
    /// The isolate ended before it saw the request: safe to send elsewhere.
    #[error("the isolate had ended before the request reached it")]
    Gone,
}

impl GuestFault {
    /// Classifies the error that ended a call into the guest.
    pub fn from_error(error: &wasmtime::Error) -> Self {
        if let Some(exceeded) = error.downcast_ref::<CpuLimitExceeded>() {
            return Self::CpuLimit { limit: exceeded.limit };
        }
        if let Some(Exited(code)) = error.downcast_ref::<Exited>() {
            return Self::Exited { code: *code };
        }
        Self::Trap { message: error.root_cause().to_string() }
    }
}
