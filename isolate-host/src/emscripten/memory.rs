//! Guest memory: read and written only within its bounds, grown within its limit.

use wasmtime::{Caller, Linker, StoreContextMut};

use super::files::Errno;
use crate::isolate::guest::Guest;

/// A guest gave an address outside its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the guest passed {length} bytes at address {address:#x}, which is not in its memory")]
pub struct BadAddress {
    pub address: u32,
    pub length: usize,
}

impl From<BadAddress> for Errno {
    fn from(_: BadAddress) -> Self {
        Errno::EFAULT
    }
}

/// Longest string taken from a guest.
const STRING_LIMIT: usize = 64 << 10;
const PAGE: u64 = 65536;

/// A view of one isolate's linear memory.
pub struct GuestMemory<'a>(&'a mut [u8]);

impl<'a> GuestMemory<'a> {
    /// The memory and the host's state of the isolate, both at once.
    pub fn with_guest(store: impl Into<StoreContextMut<'a, Guest>>) -> (Self, &'a mut Guest) {
        let store = store.into();
        let memory = store.data().parts().memory;
        let (bytes, guest) = memory.data_and_store_mut(store);
        (Self(bytes), guest)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// All of it, from address 0.
    pub fn all(&self) -> &[u8] {
        self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn bytes(&self, address: u32, length: usize) -> Result<&[u8], BadAddress> {
        let start = address as usize;
        self.0.get(start..start.saturating_add(length)).ok_or(BadAddress { address, length })
    }

    pub fn bytes_mut(&mut self, address: u32, length: usize) -> Result<&mut [u8], BadAddress> {
        let start = address as usize;
        self.0.get_mut(start..start.saturating_add(length)).ok_or(BadAddress { address, length })
    }

    pub fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), BadAddress> {
        self.bytes_mut(address, bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    pub fn write_u8(&mut self, address: u32, value: u8) -> Result<(), BadAddress> {
        self.write(address, &[value])
    }

    pub fn write_u16(&mut self, address: u32, value: u16) -> Result<(), BadAddress> {
        self.write(address, &value.to_le_bytes())
    }

    pub fn write_u32(&mut self, address: u32, value: u32) -> Result<(), BadAddress> {
        self.write(address, &value.to_le_bytes())
    }

    pub fn write_u64(&mut self, address: u32, value: u64) -> Result<(), BadAddress> {
        self.write(address, &value.to_le_bytes())
    }

    pub fn read_u32(&self, address: u32) -> Result<u32, BadAddress> {
        let bytes = self.bytes(address, 4)?;
        Ok(u32::from_le_bytes(bytes.try_into().expect("four bytes")))
    }

    pub fn read_u64(&self, address: u32) -> Result<u64, BadAddress> {
        let bytes = self.bytes(address, 8)?;
        Ok(u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
    }

    /// A string that ends with a zero byte. What is not UTF-8 in it is replaced.
    pub fn c_string(&self, address: u32) -> Result<String, BadAddress> {
        let rest = self.0.get(address as usize..).unwrap_or_default();
        let rest = &rest[..rest.len().min(STRING_LIMIT)];
        let end =
            rest.iter().position(|&byte| byte == 0).ok_or(BadAddress { address, length: STRING_LIMIT })?;
        Ok(String::from_utf8_lossy(&rest[..end]).into_owned())
    }

    /// The `(address, length)` pairs of a `struct iovec` array.
    pub fn io_vectors(&self, address: u32, count: u32) -> Result<Vec<(u32, usize)>, BadAddress> {
        let table = self.bytes(address, count as usize * 8)?;
        let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
        Ok(table.chunks_exact(8).map(|pair| (word(&pair[..4]), word(&pair[4..]) as usize)).collect())
    }
}

/// Growth of the heap, and `mmap` of files as Emscripten does it: memory with a copy in it.
pub fn define(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.func_wrap("env", "emscripten_get_heap_max", |caller: Caller<'_, Guest>| {
        u32::try_from(caller.data().limits.memory_bytes).unwrap_or(u32::MAX)
    })?;
    linker.func_wrap("env", "emscripten_resize_heap", |mut caller: Caller<'_, Guest>, wanted: u32| {
        let memory = caller.data().parts().memory;
        let have = memory.size(&caller);
        let need = u64::from(wanted).div_ceil(PAGE);
        if need <= have {
            return 1;
        }
        // A little more than asked for, so that a growing heap does not ask each time.
        let generous = (need + need / 16).saturating_sub(have);
        let grown = memory.grow(&mut caller, generous).or_else(|_| memory.grow(&mut caller, need - have));
        i32::from(grown.is_ok())
    })?;
    linker.func_wrap_async(
        "env",
        "_mmap_js",
        |mut caller: Caller<'_, Guest>,
         (length, _protection, _flags, fd, offset, allocated, address): (
            u32,
            i32,
            i32,
            i32,
            i64,
            u32,
            u32,
        )| {
            Box::new(async move {
                let main = caller.data().parts().main;
                let memalign =
                    main.get_typed_func::<(u32, u32), u32>(&mut caller, "emscripten_builtin_memalign")?;
                let rounded = length.next_multiple_of(PAGE as u32);
                let at = memalign.call_async(&mut caller, (PAGE as u32, rounded)).await?;
                if at == 0 {
                    return Ok(Errno::ENOMEM.negated());
                }
                let (mut memory, guest) = GuestMemory::with_guest(&mut caller);
                memory.bytes_mut(at, rounded as usize)?.fill(0);
                let filled = u64::try_from(offset)
                    .map_err(|_| Errno::EINVAL)
                    .and_then(|offset| guest.files.pread(fd, offset, memory.bytes_mut(at, length as usize)?));
                match filled {
                    Ok(_) => {
                        memory.write_u32(allocated, 1)?;
                        memory.write_u32(address, at)?;
                        Ok(0)
                    }
                    Err(errno) => {
                        let free = main.get_typed_func::<u32, ()>(&mut caller, "free")?;
                        free.call_async(&mut caller, at).await?;
                        Ok(errno.negated())
                    }
                }
            })
        },
    )?;
    // Mappings are private copies: nothing to write back, and `munmap` frees the memory itself.
    linker.func_wrap("env", "_msync_js", |_: u32, _: u32, _: i32, _: i32, _: i32, _: i64| 0)?;
    linker.func_wrap("env", "_munmap_js", |_: u32, _: u32, _: i32, _: i32, _: i32, _: i64| 0)?;
    Ok(())
}
