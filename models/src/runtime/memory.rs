//! A bound on the memory that a model takes while it is verified.
//!
//! A file of a hundred bytes can ask for any amount (`ConstantOfShape`, or two columns multiplied), and what the machine
//! does not have ends the process. Sessions that verify take their memory from one allocator of a fixed size, which ONNX
//! Runtime offers but `ort` has no words for.
#![expect(
    unsafe_code,
    reason = "four calls of ONNX Runtime's interface that `ort` does not wrap"
)]

use std::ffi::CStr;
use std::ptr;

use ort::AsPointer;
use ort::environment::Environment;
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};

/// Four times the largest model, which is held once as it was read and once as it is run.
pub(crate) const VERIFICATION_BYTES_MAX: usize = 1 << 30;

/// What is taken at a time: as much as is asked for, not twice as much as before.
const EXTEND_AS_REQUESTED: usize = 1;

/// Gives the environment the allocator that sessions share which ask for it (`with_env_allocators`). Once per environment.
pub(super) fn bound(environment: &Environment) -> ort::Result<()> {
    const KEYS: [&CStr; 2] = [c"max_mem", c"arena_extend_strategy"];
    let names = KEYS.map(CStr::as_ptr);
    let values = [VERIFICATION_BYTES_MAX, EXTEND_AS_REQUESTED];
    let memory = MemoryInfo::new(
        AllocationDevice::CPU,
        0,
        AllocatorType::Arena,
        MemoryType::Default,
    )?;
    let api = ort::api();
    let mut arena = ptr::null_mut();
    // SAFETY: both arrays have as many elements as is said and live until the call returns; `arena` is written to on
    // success only.
    let created = unsafe {
        (api.CreateArenaCfgV2)(
            names.as_ptr(),
            values.as_ptr(),
            values.len(),
            &raw mut arena,
        )
    };
    // SAFETY: the status comes from the call above and is used once.
    unsafe { ort::Error::result_from_status(created) }?;
    // SAFETY: environment, memory and arena are valid; the environment copies what it needs of the latter two.
    let registered = unsafe {
        (api.CreateAndRegisterAllocator)(environment.ptr().cast_mut(), memory.ptr(), arena)
    };
    // SAFETY: the arena's description was created above, is not used by the environment any more, and is released once.
    unsafe { (api.ReleaseArenaCfg)(arena) };
    // SAFETY: the status comes from the call above and is used once.
    unsafe { ort::Error::result_from_status(registered) }
}
