//! Another process of this program, which ends when its parent lets go of it, or ends itself.

use std::{
    env,
    io::{self, BufRead as _, BufReader},
    process::{self, ChildStdout, Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result, bail};

use crate::system::System;

pub(crate) struct Child {
    process: process::Child,
    output: BufReader<ChildStdout>,
}

impl Child {
    pub(crate) fn start(command: &str, system: System) -> Result<Self> {
        let program = env::current_exe().context("this program's path")?;
        let mut process = Command::new(program)
            .args([command, system.argument()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("another process of this program")?;
        let output = process.stdout.take().expect("a pipe was asked for");
        Ok(Self {
            process,
            output: BufReader::new(output),
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            bail!("the process ended early; its own message is above");
        }
        Ok(line)
    }
}

/// Ends this process with the one that started it, which holds the other end of its input.
pub(crate) fn end_with_parent() {
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        process::exit(0);
    });
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
