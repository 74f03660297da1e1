//! A small disk, to be filled.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A file system of its own in memory. Needs root, or sudo that asks nothing, as `tests/run` does.
pub(crate) struct Disk {
    folder: TempDir,
}

impl Disk {
    /// An empty one that everybody may write to.
    pub(crate) fn of_megabytes(size: u32) -> Self {
        let disk = Self { folder: tempfile::tempdir().unwrap() };
        let options = format!("size={size}m,mode=0777");
        let mounted =
            as_root(&["mount", "-t", "tmpfs", "-o", &options, "tmpfs"], disk.folder.path());
        assert!(mounted, "a small disk cannot be mounted: run the tests as root or with sudo");
        // A test that is killed leaves its folder behind, which others may still walk through.
        fs::create_dir(disk.path()).unwrap();
        disk
    }

    /// A folder on it.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("room")
    }

    /// Takes all the room that is left.
    pub(crate) fn fill(&self) {
        let mut file = File::create(self.rest()).unwrap();
        let chunk = [0; 4096];
        while file.write_all(&chunk).is_ok() {}
    }

    /// Gives it back.
    pub(crate) fn free(&self) {
        fs::remove_file(self.rest()).unwrap();
    }

    fn rest(&self) -> PathBuf {
        self.folder.path().join("rest")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a server that is being stopped may still have a file open.
        as_root(&["umount", "-l"], self.folder.path());
    }
}

fn as_root(command: &[&str], path: &Path) -> bool {
    let command =
        if super::is_root() { command.to_vec() } else { [&["sudo", "-n"], command].concat() };
    let done = Command::new(command[0]).args(&command[1..]).arg(path).status();
    done.is_ok_and(|status| status.success())
}
