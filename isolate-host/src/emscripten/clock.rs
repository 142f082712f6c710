//! Clocks, and calendar arithmetic in UTC (the guest's only time zone).

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wasmtime::{Caller, Linker};

use super::files::Errno;
use super::memory::{BadAddress, GuestMemory};
use crate::isolate::guest::Guest;

/// What the clocks read when a top level begins: 2026-01-01T00:00:00Z.
const DEPLOY_REALTIME: u64 = 1_767_225_600 * NANOS;
/// How far a frozen clock moves per reading, so that a loop that waits for time to pass ends.
const DEPLOY_STEP: u64 = 1_000;
const NANOS: u64 = 1_000_000_000;

/// The clocks of one isolate, in nanoseconds.
#[derive(Debug, Clone)]
pub enum Clock {
    /// While deploying: a function of how often it was read, so that images are reproducible.
    Frozen { readings: u64 },
    /// While serving: every clock goes on from what the snapshot had seen.
    Running { floor: u64, since: Instant },
}

impl Clock {
    pub fn frozen() -> Self {
        Self::Frozen { readings: 0 }
    }

    /// Clocks that go on from what [`frozen`](Self::frozen) ones had come to: `floor` is the
    /// last reading of the monotonic one.
    pub fn running(floor: u64) -> Self {
        Self::Running { floor, since: Instant::now() }
    }

    pub fn realtime(&mut self) -> u64 {
        match self {
            Self::Frozen { .. } => DEPLOY_REALTIME + self.monotonic(),
            // A machine that has lost its date must not take the worker back in time.
            Self::Running { floor, since } => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |time| time.as_nanos() as u64)
                .max(DEPLOY_REALTIME + *floor + since.elapsed().as_nanos() as u64),
        }
    }

    pub fn monotonic(&mut self) -> u64 {
        match self {
            Self::Frozen { readings } => {
                *readings += 1;
                *readings * DEPLOY_STEP
            }
            Self::Running { floor, since } => *floor + since.elapsed().as_nanos() as u64,
        }
    }

    /// CPU time of process and thread, of which `used` was measured since the restore.
    pub fn cpu(&mut self, used: Duration) -> u64 {
        match self {
            Self::Frozen { .. } => self.monotonic(),
            Self::Running { floor, .. } => *floor + used.as_nanos() as u64,
        }
    }

    /// The host's instant at which the monotonic clock will read `seconds`; none while frozen.
    pub fn instant_at(&self, seconds: f64) -> Option<Instant> {
        let Self::Running { floor, since } = self else { return None };
        let nanos = (seconds * NANOS as f64).clamp(0.0, 1e18) as u64;
        since.checked_add(Duration::from_nanos(nanos.saturating_sub(*floor)))
    }
}

pub fn define(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let wasi = "wasi_snapshot_preview1";
    linker.func_wrap(
        wasi,
        "clock_time_get",
        |mut caller: Caller<'_, Guest>, id: i32, _precision: i64, at: u32| {
            let (mut memory, guest) = GuestMemory::with_guest(&mut caller);
            let time = match id {
                0 => guest.clock.realtime(),
                1 => guest.clock.monotonic(),
                // CPU time of process and thread.
                2 | 3 => guest.clock.cpu(guest.cpu.so_far()),
                _ => return Ok(i32::from(Errno::EINVAL.number())),
            };
            memory.write_u64(at, time)?;
            Ok::<i32, wasmtime::Error>(0)
        },
    )?;
    linker.func_wrap(wasi, "clock_res_get", |mut caller: Caller<'_, Guest>, _id: i32, at: u32| {
        GuestMemory::with_guest(&mut caller).0.write_u64(at, 1_000)?;
        Ok::<i32, wasmtime::Error>(0)
    })?;
    let milliseconds = |nanos: u64| nanos as f64 / 1e6;
    linker.func_wrap("env", "emscripten_date_now", move |mut caller: Caller<'_, Guest>| {
        milliseconds(caller.data_mut().clock.realtime())
    })?;
    linker.func_wrap("env", "emscripten_get_now", move |mut caller: Caller<'_, Guest>| {
        milliseconds(caller.data_mut().clock.monotonic())
    })?;
    define_calendar(linker)
}

fn define_calendar(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    for name in ["_gmtime_js", "_localtime_js"] {
        linker.func_wrap("env", name, |mut caller: Caller<'_, Guest>, time: i64, at: u32| {
            Ok::<(), wasmtime::Error>(
                Tm::from_unix(time).write(&mut GuestMemory::with_guest(&mut caller).0, at)?,
            )
        })?;
    }
    for name in ["_timegm_js", "_mktime_js"] {
        linker.func_wrap("env", name, |mut caller: Caller<'_, Guest>, at: u32| {
            let (mut memory, _) = GuestMemory::with_guest(&mut caller);
            let time = Tm::read(&memory, at)?.to_unix();
            Tm::from_unix(time).write(&mut memory, at)?;
            Ok::<i64, wasmtime::Error>(time)
        })?;
    }
    linker.func_wrap(
        "env",
        "_tzset_js",
        |mut caller: Caller<'_, Guest>,
         offset: u32,
         daylight: u32,
         standard_name: u32,
         daylight_name: u32| {
            let (mut memory, _) = GuestMemory::with_guest(&mut caller);
            memory.write_u32(offset, 0)?;
            memory.write_u32(daylight, 0)?;
            memory.write(standard_name, b"UTC\0")?;
            memory.write(daylight_name, b"UTC\0")?;
            Ok::<(), wasmtime::Error>(())
        },
    )?;
    Ok(())
}

/// C's `struct tm`, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tm {
    second: i32,
    minute: i32,
    hour: i32,
    day_of_month: i32,
    /// From 0.
    month: i32,
    /// Since 1900.
    year: i32,
    /// From Sunday.
    day_of_week: i32,
    /// From 0.
    day_of_year: i32,
}

impl Tm {
    fn from_unix(time: i64) -> Self {
        let (days, seconds) = (time.div_euclid(86_400), time.rem_euclid(86_400) as i32);
        let (year, month, day) = civil_from_days(days);
        Self {
            second: seconds % 60,
            minute: seconds / 60 % 60,
            hour: seconds / 3_600,
            day_of_month: day as i32,
            month: month as i32 - 1,
            year: (year - 1900) as i32,
            day_of_week: (days + 4).rem_euclid(7) as i32,
            day_of_year: (days - days_from_civil(year, 1, 1)) as i32,
        }
    }

    /// Fields may be out of range, as `mktime` allows.
    fn to_unix(self) -> i64 {
        let months = i64::from(self.year) * 12 + i64::from(self.month);
        let (year, month) = (1900 + months.div_euclid(12), months.rem_euclid(12) + 1);
        let days = days_from_civil(year, month, 1) + i64::from(self.day_of_month) - 1;
        days * 86_400 + i64::from(self.hour) * 3_600 + i64::from(self.minute) * 60 + i64::from(self.second)
    }

    fn read(memory: &GuestMemory<'_>, at: u32) -> Result<Self, BadAddress> {
        let field = |index: u32| memory.read_u32(at + 4 * index).map(|value| value as i32);
        Ok(Self {
            second: field(0)?,
            minute: field(1)?,
            hour: field(2)?,
            day_of_month: field(3)?,
            month: field(4)?,
            year: field(5)?,
            day_of_week: field(6)?,
            day_of_year: field(7)?,
        })
    }

    fn write(self, memory: &mut GuestMemory<'_>, at: u32) -> Result<(), BadAddress> {
        let (no_daylight_saving, no_offset) = (0, 0);
        let fields = [
            self.second,
            self.minute,
            self.hour,
            self.day_of_month,
            self.month,
            self.year,
            self.day_of_week,
            self.day_of_year,
            no_daylight_saving,
            no_offset,
        ];
        (at..).step_by(4).zip(fields).try_for_each(|(at, field)| memory.write_u32(at, field as u32))
    }
}

/// Days since 1970-01-01 of a Gregorian date. Years are counted from March, so that the leap day is a year's last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The Gregorian date of a day, as (year, month from 1, day from 1); inverse of `days_from_civil`.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn knows_a_leap_day() {
        let tm = Tm::from_unix(1_709_210_096); // 2024-02-29T12:34:56Z, a Thursday
        let expected = Tm {
            second: 56,
            minute: 34,
            hour: 12,
            day_of_month: 29,
            month: 1,
            year: 124,
            day_of_week: 4,
            day_of_year: 59,
        };
        assert_eq!(tm, expected);
    }

    proptest! {
        #[test]
        fn times_read_back(time in -60_000_000_000i64..200_000_000_000) {
            prop_assert_eq!(Tm::from_unix(time).to_unix(), time);
        }
    }

    #[test]
    fn a_frozen_clock_moves_only_when_read() {
        let (mut one, mut two) = (Clock::frozen(), Clock::frozen());
        assert_eq!(one.monotonic(), two.monotonic());
        assert!(one.monotonic() > two.realtime() - DEPLOY_REALTIME - DEPLOY_STEP);
    }

    #[test]
    fn no_clock_runs_backwards_when_a_frozen_one_is_followed_by_a_running_one() {
        // A floor beyond today: as on a machine that has lost its date.
        for readings in [3, 10_u64.pow(15)] {
            let mut frozen = Clock::Frozen { readings };
            let before = (frozen.realtime(), frozen.cpu(Duration::ZERO));
            let floor = frozen.monotonic();
            let mut running = Clock::running(floor);
            assert!(running.monotonic() >= floor);
            assert!(running.realtime() >= before.0);
            assert!(running.cpu(Duration::ZERO) >= before.1);
        }
    }

    #[test]
    fn a_running_clock_never_reads_less_than_its_floor() {
        let mut clock = Clock::running(5 * NANOS);
        assert!(clock.monotonic() >= 5 * NANOS);
        assert!(clock.instant_at(4.0).unwrap() <= clock.instant_at(6.0).unwrap());
    }
}
