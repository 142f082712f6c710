//! Certificates on disk, good and bad.

use std::path::PathBuf;

use rcgen::{CertifiedKey as Made, generate_simple_self_signed};
use tempfile::TempDir;

use super::*;

struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a new certificate for these names.
    fn make(&self, stem: &str, names: &[&str]) -> CertificateFiles {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let Made { cert, signing_key } = generate_simple_self_signed(names).unwrap();
        let (certificate, key) = (self.path(&format!("{stem}.pem")), self.path(&format!("{stem}.key")));
        std::fs::write(&certificate, cert.pem()).unwrap();
        std::fs::write(&key, signing_key.serialize_pem()).unwrap();
        CertificateFiles { certificate, key }
    }
}

fn chain(found: Option<Arc<CertifiedKey>>) -> Vec<u8> {
    found.unwrap().cert[0].to_vec()
}

#[test]
fn the_name_chooses_the_certificate() {
    let files = Files::new();
    let list = [files.make("a", &["a.test"]), files.make("b", &["B.test", "*.b.test"])];
    let certificates = Certificates::load(&list).unwrap();
    let of = |name: Option<&str>| chain(certificates.resolve_name(name));
    let (a, b) = (of(Some("a.test")), of(Some("b.test")));
    assert_ne!(a, b);
    assert_eq!(of(Some("A.TEST")), a);
    assert_eq!(of(Some("x.b.test")), b);
    assert_eq!(of(Some("x.y.b.test")), a, "a star stands for one label");
    assert_eq!(of(Some("other.test")), a, "the first one for what none was made for");
    assert_eq!(of(None), a);
}

#[test]
fn what_is_unusable_is_named_and_the_last_good_one_stays() {
    let files = Files::new();
    let list = [files.make("a", &["a.test"]), files.make("b", &["b.test"])];
    let certificates = Certificates::load(&list).unwrap();
    let before = chain(certificates.resolve_name(Some("b.test")));
    let why = || Candidates::read(&list).err().map(|bad| bad.to_string()).unwrap();

    let key = std::fs::read(&list[1].key).unwrap();
    std::fs::copy(&list[0].key, &list[1].key).unwrap();
    assert!(why().starts_with("`tls[1].key`: ") && why().contains("it is not the key of"), "{}", why());
    std::fs::write(&list[1].key, "-----BEGIN nothing").unwrap();
    assert!(why().contains("there is no private key in it"), "{}", why());
    std::fs::write(&list[1].key, key).unwrap();
    std::fs::write(&list[1].certificate, "what?").unwrap();
    assert!(why().starts_with("`tls[1].certificate`: ") && why().contains("there is no certificate in it"));
    std::fs::remove_file(&list[1].certificate).unwrap();
    assert!(why().contains("No such file"), "{}", why());
    assert!(matches!(check(&list[1]), Err(Unusable::Certificate(_))));
    assert_eq!(chain(certificates.resolve_name(Some("b.test"))), before);

    let stamped = stamp(&list);
    files.make("b", &["b.test"]);
    assert_ne!(stamp(&list), stamped);
    assert!(certificates.replace(Candidates::read(&list).unwrap()));
    assert_ne!(chain(certificates.resolve_name(Some("b.test"))), before);
    assert!(!certificates.replace(Candidates::read(&list).unwrap()), "nothing has changed");
}
