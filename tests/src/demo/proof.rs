//! The verifier's side: plan, key and policy from his own disk; then one byte is changed.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::Parser as _;
use verify::args::{Cli, Command};

use super::past::Past;
use super::places::{Places, write};
use super::say;

/// Verifies a bundle, alters one byte of a copy, and verifies that.
pub(super) async fn verify_and_alter(
    places: &Places,
    past: &Past,
    cosigner_vkey: &str,
    bundle: &Path,
) -> anyhow::Result<()> {
    let plan = places.proof().join("plan.toml");
    let policy = places.proof().join("policy.txt");
    write(&plan, past.plan.as_bytes())?;
    let text = format!("witness W0 {cosigner_vkey}\nquorum W0\n");
    write(&policy, text.as_bytes())?;
    let arguments = |bundle: &Path| -> Vec<String> {
        let path = |path: &Path| path.display().to_string();
        [
            "fieldseal-verify".to_owned(),
            "bundle".to_owned(),
            path(bundle),
            "--plan".to_owned(),
            path(&plan),
            "--policy".to_owned(),
            path(&policy),
            "--anchor".to_owned(),
            past.vkey.clone(),
            "--from".to_owned(),
            past.from.clone(),
            "--to".to_owned(),
            past.to.clone(),
        ]
        .into()
    };
    let given = arguments(bundle);
    say(&format!("$ {}\n", given.join(" ")));
    let (code, verdict) = verify(given).await?;
    say(&indented(&verdict));
    ensure!(code == 0, "the bundle did not verify: exit code {code}");
    say(
        "\nThe whole period lies in one time bracket: nobody outside saw this log before today. So the \
         class is 1: only\nthis collector vouched, and only afterwards. A live site is cosigned within \
         minutes, and an independent witness\nmakes it class 2.",
    );

    super::heading("5. One byte is changed");
    let altered = places.proof().join("altered.tar");
    let change = alter(bundle, &altered).await?;
    say(&change);
    let (code, verdict) = verify(arguments(&altered)).await?;
    say(&indented(&verdict));
    ensure!(
        code == 2,
        "an altered bundle must fail with exit code 2, not {code}"
    );
    say("\nThe altered entry is named; nothing else had to be believed to find it.");
    Ok(())
}

/// Runs the verifier's own command line; its exit code and what it prints.
async fn verify(arguments: Vec<String>) -> anyhow::Result<(u8, String)> {
    let Command::Bundle(arguments) = Cli::try_parse_from(arguments)?.command else {
        anyhow::bail!("`fieldseal-verify bundle` is another command now");
    };
    tokio::task::spawn_blocking(move || {
        let mut out = Vec::new();
        let code = verify::run(&arguments, &mut out, &|_done, _all| {})?;
        Ok((code, String::from_utf8_lossy(&out).into_owned()))
    })
    .await?
}

/// Copies a bundle with one byte in the middle of its readings changed, and says which.
async fn alter(bundle: &Path, altered: &Path) -> anyhow::Result<String> {
    let (bundle, altered) = (bundle.to_owned(), PathBuf::from(altered));
    tokio::task::spawn_blocking(move || {
        let mut bytes = std::fs::read(&bundle)?;
        let (name, start, size) = member(&bytes, "payload.bin")?;
        let at = start + size / 2;
        let byte = bytes
            .get_mut(at)
            .context("the bundle is shorter than its headers say")?;
        let before = *byte;
        *byte ^= 0x01;
        let text = format!(
            "Byte {} of {name} (the readings) was {before:#04x} and is {:#04x} in {}.\n",
            at - start,
            *byte,
            altered.display()
        );
        write(&altered, &bytes)?;
        Ok(text)
    })
    .await?
}

/// Finds a member of a tar by the end of its name: name, where its bytes begin, how many.
fn member(tar: &[u8], wanted: &str) -> anyhow::Result<(String, usize, usize)> {
    let mut at = 0;
    while let Some(header) = tar.get(at..at + 512) {
        let text = |range: std::ops::Range<usize>| {
            let field = header.get(range).unwrap_or_default();
            let end = field
                .iter()
                .position(|byte| *byte == 0)
                .unwrap_or(field.len());
            String::from_utf8_lossy(field.get(..end).unwrap_or_default()).into_owned()
        };
        let name = text(0..100);
        if name.is_empty() {
            break;
        }
        let size = usize::from_str_radix(text(124..136).trim(), 8)
            .with_context(|| format!("the size of {name}"))?;
        if name.ends_with(wanted) {
            return Ok((name, at + 512, size));
        }
        at += 512 + size.div_ceil(512) * 512;
    }
    bail!("the bundle has no {wanted}")
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_found_behind_others() {
        let mut tar = vec![0; 512 * 5];
        tar[..5].copy_from_slice(b"a/one");
        tar[124..127].copy_from_slice(b"601");
        tar[512 * 2..512 * 2 + 5].copy_from_slice(b"a/two");
        tar[512 * 2 + 124..512 * 2 + 127].copy_from_slice(b"002");
        // 601 octal is 385 bytes: one block.
        let (name, start, size) = member(&tar, "two").unwrap();
        assert_eq!((name.as_str(), start, size), ("a/two", 512 * 3, 2));
        assert!(member(&tar, "three").is_err());
    }
}
