//! Values that a guest hands to the host.

use isolate_host::isolate::marshal::Value;

/// Nothing a guest says panics or takes more memory than it sends; what is read can be written
/// and read again. Compared as bytes, since a float may be no number.
pub fn check(data: &[u8]) {
    let Ok(value) = Value::read(data) else { return };
    let written = value.to_bytes();
    let again = Value::read(&written).expect("what was written can be read");
    assert_eq!(again.to_bytes(), written);
}
