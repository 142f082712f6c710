//! What a request's head may say to a host, and what hosts say to routers.

use warmshard_config::host_policy::admission::{Caller, Head, Intake, Verdict, admit};
use warmshard_config::units::{DeploymentId, FleetKey, HostId, WorkerName, parse_duration};
use warmshard_config::wire::{ErrorReply, Load, control};

const KEY: &str = "0123456789abcdef";

/// Without the key nobody gets anything but a health answer; a worker that is served has a name
/// that can be a file's.
pub fn check(data: &[u8]) {
    let mut parts = data.splitn(3, |&byte| byte == 0);
    let (path, key, worker) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    let path = String::from_utf8_lossy(path);
    let fleet_key = FleetKey::parse(KEY).expect("a key");
    for intake in [Intake::Open, Intake::Draining] {
        let verdict = admit(Head { path: &path, key, worker, caller: Caller::Unknown }, &fleet_key, intake);
        let has_key = key == Some(KEY.as_bytes());
        match verdict {
            Verdict::Serve(name) => {
                assert!(has_key);
                assert_eq!(Some(name.as_str().as_bytes()), worker);
                assert!(!name.as_str().contains(['/', '.', '\0']) && !name.as_str().is_empty());
            }
            Verdict::Control | Verdict::Refuse(_) => assert!(has_key),
            Verdict::Health => assert!(worker.is_none() && path == control::HEALTHZ),
            Verdict::Deny(_) => {}
        }
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(load) = text.parse::<Load>() {
        assert_eq!(load.to_string().parse(), Ok(load));
    }
    let _ = (WorkerName::parse(text), HostId::parse(text), DeploymentId::parse(text), parse_duration(text));
    let _ = serde_json::from_str::<ErrorReply>(text);
}
