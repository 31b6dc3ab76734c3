//! The `watch_folder` example: each file that lands is told of once, also over two runs.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let built = test.ancestors().nth(2).unwrap().join("examples").join("watch_folder");
    assert!(built.is_file(), "{} is not there: `cargo build --example watch_folder` makes it", built.display());
    built
}

/// A run that ends by itself if nobody ends it.
struct Run {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Run {
    fn start(folder: &Path) -> Self {
        let mut command = Command::new(example());
        command.arg(folder.join("landing")).arg("--dir").arg(folder.join("lake")).args(["--for", "120"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut run = Self { child, lines };
        assert!(run.line().starts_with("watching "));
        run
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("the run ended early").unwrap()
    }

    /// Kills it, as nobody expects.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn land(folder: &Path, name: &str, rows: usize) {
    // Under another name at first: a file that lands is whole.
    let part = folder.join(name);
    let lines: String = (0..rows).map(|row| format!("{{\"id\":{row},\"file\":\"{name}\"}}\n")).collect();
    std::fs::write(&part, lines).unwrap();
    std::fs::rename(part, folder.join("landing").join(name)).unwrap();
}

#[test]
fn files_become_rows_as_they_land_and_none_is_told_of_twice() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut first = Run::start(folder);
    land(folder, "a.json", 3);
    assert!(first.line().starts_with("  a.json: "));
    assert_eq!(first.line(), "epoch 0: 3 rows, version 0 of the table");
    land(folder, "b.json", 2);
    assert!(first.line().starts_with("  b.json: "));
    assert_eq!(first.line(), "epoch 1: 2 rows, version 1 of the table");
    first.kill();

    land(folder, "c.json", 4);
    let mut second = Run::start(folder);
    assert!(second.line().starts_with("  c.json: "));
    assert_eq!(second.line(), "epoch 2: 4 rows, version 2 of the table");
    second.kill();
}

#[test]
fn a_folder_that_cannot_be_made_is_one_line_and_an_error_code() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let output = Command::new(example()).arg(file.join("landing")).arg("--dir").arg(folder.path().join("lake")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("watch_folder: make the folder ") && text.trim_end().lines().count() == 1, "{text}");
}
