//! Memory of one context, counted and limited.
//!
//! The engine's own limit would do to refuse; counting tells besides whether an execution failed for want of memory (the
//! engine may then throw `null`, since an error would need memory too), and what a warm context costs.

use std::cell::Cell;
use std::rc::Rc;

use rquickjs::allocator::{Allocator, RustAllocator};

/// What one context has, and may have.
#[derive(Debug)]
pub(crate) struct Budget {
    used: Cell<usize>,
    limit: Cell<usize>,
    refused: Cell<bool>,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Rc<Self> {
        Rc::new(Self { used: Cell::new(0), limit: Cell::new(limit), refused: Cell::new(false) })
    }

    /// Bytes that are allocated.
    pub(crate) fn used(&self) -> usize {
        self.used.get()
    }

    /// Sets the limit anew and forgets that anything was refused.
    pub(crate) fn begin(&self, limit: usize) {
        self.limit.set(limit);
        self.refused.set(false);
    }

    /// Whether anything was refused since [`Self::begin`].
    pub(crate) fn refused(&self) -> bool {
        self.refused.get()
    }

    /// Whether `more` bytes beside `instead_of` may be had.
    fn allows(&self, more: usize, instead_of: usize) -> bool {
        let wanted = (self.used.get() - instead_of).saturating_add(more);
        let allowed = wanted <= self.limit.get();
        if !allowed {
            self.refused.set(true);
        }
        allowed
    }
}

/// The allocator of one runtime.
pub(crate) struct Counted(pub(crate) Rc<Budget>);

impl Counted {
    /// Counts what was allocated at `pointer`.
    fn took(&mut self, pointer: *mut u8) -> *mut u8 {
        if pointer.is_null() {
            self.0.refused.set(true);
        } else {
            self.0.used.set(self.0.used.get() + size_of_block(pointer));
        }
        pointer
    }
}

#[expect(
    unsafe_code,
    reason = "both callers hand in a pointer that the allocator below has returned and not yet freed"
)]
fn size_of_block(pointer: *mut u8) -> usize {
    // SAFETY: see above; `RustAllocator` keeps the size of each block in front of it.
    unsafe { RustAllocator::usable_size(pointer) }
}

#[expect(
    unsafe_code,
    reason = "every pointer comes from `RustAllocator`, whose promises these are; beside that, numbers are added"
)]
// SAFETY: each method hands its arguments to `RustAllocator`, or refuses with a null pointer, as the trait allows.
unsafe impl Allocator for Counted {
    fn alloc(&mut self, size: usize) -> *mut u8 {
        if !self.0.allows(size, 0) {
            return std::ptr::null_mut();
        }
        self.took(RustAllocator.alloc(size))
    }

    fn calloc(&mut self, count: usize, size: usize) -> *mut u8 {
        match count.checked_mul(size) {
            Some(total) if self.0.allows(total, 0) => self.took(RustAllocator.calloc(count, size)),
            _ => {
                self.0.refused.set(true);
                std::ptr::null_mut()
            }
        }
    }

    unsafe fn dealloc(&mut self, ptr: *mut u8) {
        self.0.used.set(self.0.used.get() - size_of_block(ptr));
        // SAFETY: the caller's promise is handed on.
        unsafe { RustAllocator.dealloc(ptr) }
    }

    unsafe fn realloc(&mut self, ptr: *mut u8, new_size: usize) -> *mut u8 {
        let old = if ptr.is_null() { 0 } else { size_of_block(ptr) };
        if !self.0.allows(new_size, old) {
            return std::ptr::null_mut();
        }
        if ptr.is_null() {
            return self.took(RustAllocator.alloc(new_size));
        }
        // SAFETY: the caller's promise is handed on.
        let moved = unsafe { RustAllocator.realloc(ptr, new_size) };
        if moved.is_null() {
            self.0.refused.set(true);
            return moved;
        }
        self.0.used.set(self.0.used.get() - old);
        self.took(moved)
    }

    unsafe fn usable_size(ptr: *mut u8) -> usize {
        // SAFETY: the caller's promise is handed on.
        unsafe { RustAllocator::usable_size(ptr) }
    }
}
