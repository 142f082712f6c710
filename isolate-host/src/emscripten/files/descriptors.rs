//! The table of descriptors, and the open descriptions several of them may share.

use super::kinds::{Device, DirEntry, OpenFlags};
use super::{Errno, Place};

/// The first number that is no standard stream.
pub const FIRST_FREE: i32 = 3;

/// Descriptors one guest may have.
const MOST: usize = 1024;

/// What `open` made: descriptors made by `dup` share it, offset included.
#[derive(Debug)]
pub(super) struct Description {
    pub(super) target: Target,
    pub(super) flags: OpenFlags,
    pub(super) offset: u64,
    /// The canonical path at the time it was opened; empty for streams.
    pub(super) path: String,
    /// A directory's records, as they were when reading began.
    pub(super) listing: Option<Vec<DirEntry>>,
    /// Descriptors of it.
    holders: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Node(Place),
    Device(Device),
}

impl Description {
    pub(super) fn new(target: Target, flags: OpenFlags, path: String) -> Self {
        Self { target, flags, offset: 0, path, listing: None, holders: 0 }
    }

    pub(super) fn place(&self) -> Option<Place> {
        match self.target {
            Target::Node(place) => Some(place),
            Target::Device(_) => None,
        }
    }

    pub(super) fn device(&self) -> Option<Device> {
        match self.target {
            Target::Device(device) => Some(device),
            Target::Node(_) => None,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    description: usize,
    close_on_exec: bool,
}

#[derive(Debug)]
pub(super) struct Descriptors {
    slots: Vec<Option<Slot>>,
    descriptions: Vec<Option<Description>>,
}

impl Descriptors {
    pub(super) fn empty() -> Self {
        Self { slots: Vec::new(), descriptions: Vec::new() }
    }

    pub(super) fn with_standard_streams() -> Self {
        let mut table = Self::empty();
        for (device, flags) in [
            (Device::Stdin, OpenFlags::RDONLY),
            (Device::Stdout, OpenFlags::WRONLY),
            (Device::Stderr, OpenFlags::WRONLY),
        ] {
            let opened = table.add(Description::new(Target::Device(device), flags, String::new()), 0);
            opened.expect("an empty table has room");
        }
        table
    }

    /// Gives a description the lowest free number from `least` on.
    pub(super) fn add(&mut self, description: Description, least: i32) -> Result<i32, Errno> {
        let fd = self.lowest_free(least)?;
        let close_on_exec = description.flags.contains(OpenFlags::CLOEXEC);
        let free = self.descriptions.iter().position(Option::is_none);
        let index = free.unwrap_or_else(|| {
            self.descriptions.push(None);
            self.descriptions.len() - 1
        });
        self.descriptions[index] = Some(description);
        self.hold(fd, index, close_on_exec);
        Ok(to_fd(fd))
    }

    /// Gives a description exactly this number, which must be free.
    pub(super) fn add_at(&mut self, description: Description, fd: i32) -> Result<(), Errno> {
        let slot = slot_number(fd)?;
        if self.slots.get(slot).is_some_and(Option::is_some) {
            return Err(Errno::EBUSY);
        }
        let given = self.add(description, fd)?;
        debug_assert_eq!(given, fd);
        Ok(())
    }

    pub(super) fn get(&self, fd: i32) -> Result<&Description, Errno> {
        let slot = self.slot(fd)?;
        self.descriptions[slot.description].as_ref().ok_or(Errno::EBADF)
    }

    pub(super) fn get_mut(&mut self, fd: i32) -> Result<&mut Description, Errno> {
        let slot = self.slot(fd)?;
        self.descriptions[slot.description].as_mut().ok_or(Errno::EBADF)
    }

    /// Makes another descriptor of the same description, from `least` on.
    pub(super) fn duplicate(&mut self, fd: i32, least: i32, close_on_exec: bool) -> Result<i32, Errno> {
        let slot = self.slot(fd)?;
        let new = self.lowest_free(least)?;
        self.hold(new, slot.description, close_on_exec);
        Ok(to_fd(new))
    }

    /// Makes `new` a descriptor of the description of `fd`; `new` must be free.
    pub(super) fn duplicate_to(&mut self, fd: i32, new: i32, close_on_exec: bool) -> Result<(), Errno> {
        let slot = self.slot(fd)?;
        let number = slot_number(new)?;
        if self.slots.get(number).is_some_and(Option::is_some) {
            return Err(Errno::EBUSY);
        }
        self.hold(number, slot.description, close_on_exec);
        Ok(())
    }

    /// Takes a number away; gives back the description when it was the last one of it.
    pub(super) fn remove(&mut self, fd: i32) -> Result<Option<Description>, Errno> {
        let slot = self.slot(fd)?;
        self.slots[slot_number(fd)?] = None;
        let place = &mut self.descriptions[slot.description];
        let description = place.as_mut().ok_or(Errno::EBADF)?;
        description.holders -= 1;
        Ok(if description.holders == 0 { place.take() } else { None })
    }

    pub(super) fn close_on_exec(&self, fd: i32) -> Result<bool, Errno> {
        Ok(self.slot(fd)?.close_on_exec)
    }

    pub(super) fn set_close_on_exec(&mut self, fd: i32, on: bool) -> Result<(), Errno> {
        self.slot(fd)?;
        if let Some(slot) = &mut self.slots[slot_number(fd)?] {
            slot.close_on_exec = on;
        }
        Ok(())
    }

    /// Every number in use, with what tells shared descriptions apart.
    pub(super) fn all(&self) -> impl Iterator<Item = (i32, usize, &Description)> {
        self.slots.iter().enumerate().filter_map(|(fd, slot)| {
            let description = (*slot)?.description;
            Some((to_fd(fd), description, self.descriptions[description].as_ref()?))
        })
    }

    pub(super) fn descriptions(&self) -> impl Iterator<Item = &Description> {
        self.descriptions.iter().flatten()
    }

    /// Whether another descriptor can be had.
    pub(super) fn check_room(&self) -> Result<(), Errno> {
        self.lowest_free(0).map(drop)
    }

    /// Points descriptions of one node to another and says how many there were.
    pub(super) fn retarget(&mut self, from: Place, to: Place) -> usize {
        let mut count = 0;
        for description in self.descriptions.iter_mut().flatten() {
            if description.target == Target::Node(from) {
                description.target = Target::Node(to);
                count += 1;
            }
        }
        count
    }

    fn slot(&self, fd: i32) -> Result<Slot, Errno> {
        self.slots.get(slot_number(fd)?).copied().flatten().ok_or(Errno::EBADF)
    }

    fn lowest_free(&self, least: i32) -> Result<usize, Errno> {
        let least = usize::try_from(least).map_err(|_| Errno::EINVAL)?;
        if least >= MOST {
            return Err(Errno::EINVAL);
        }
        let taken = self.slots.iter().skip(least).take_while(|slot| slot.is_some()).count();
        Some(least + taken).filter(|&fd| fd < MOST).ok_or(Errno::EMFILE)
    }

    fn hold(&mut self, fd: usize, description: usize, close_on_exec: bool) {
        if self.slots.len() <= fd {
            self.slots.resize(fd + 1, None);
        }
        self.slots[fd] = Some(Slot { description, close_on_exec });
        if let Some(description) = &mut self.descriptions[description] {
            description.holders += 1;
        }
    }
}

fn slot_number(fd: i32) -> Result<usize, Errno> {
    usize::try_from(fd).ok().filter(|&fd| fd < MOST).ok_or(Errno::EBADF)
}

fn to_fd(slot: usize) -> i32 {
    i32::try_from(slot).expect("the table is shorter than 2^31")
}
