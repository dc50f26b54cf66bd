//! The verdict in two languages and as a page: the same facts, and nothing that reads like an opinion.

use std::process::Command;

use crate::support::{
    FROM_MS, Files, Gateway, HOUR_MS, Site, TO_MS, disclosed, joined, solar_day, witnesses,
};
use evidence::bundle::Disclosure;

/// Verifies a bundle with further arguments through the program; exit code and text.
fn run(files: &Files, bundle: &[u8], further: &[&str]) -> (Option<i32>, String) {
    files.write("bundle.tar", bundle);
    let output = Command::new(env!("CARGO_BIN_EXE_fieldseal-verify"))
        .arg("bundle")
        .arg(files.path("bundle.tar"))
        .arg("--plan")
        .arg(files.path("plan.toml"))
        .arg("--policy")
        .arg(files.path("ours.policy"))
        .args(["--gap-limit-percent", "100"])
        .args(further)
        .output()
        .unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

#[test]
fn the_verdict_is_told_in_english_and_japanese_on_80_columns() {
    let site = solar_day();
    let files = Files::new(&site);
    let bundle = site.spec().write();
    let (code, english) = run(&files, &bundle, &[]);
    assert_eq!(code, Some(0), "{english}");
    let (code, japanese) = run(&files, &bundle, &["--language", "ja"]);
    assert_eq!(code, Some(0), "{japanese}");
    println!("{english}\n{japanese}");
    for words in [
        "DATA INTEGRITY: CONFIRMED, class 2",
        "REPORT ARITHMETIC: REPRODUCED",
        "This is not a verification opinion.",
        "a split view would have needed 2 dishonest: W0 and W1",
        "the log key AND W0 AND W1",
        "NOT PROVEN by cryptography: that sensors told the truth",
        "(0 unexplained)",
    ] {
        assert!(joined(&english).contains(words), "{words}\n{english}");
    }
    for words in [
        "データの完全性:確認、区分2",
        "報告書の計算:再現",
        "これは検証意見ではない。",
        "2者の不正な証人が必要だった:W0とW1",
        "停電1件",
    ] {
        // Japanese lines are broken between any two characters.
        let squeezed: String = japanese.split_whitespace().collect();
        assert!(squeezed.contains(words), "{words}\n{japanese}");
    }
    let long = |text: &str| {
        let lines = text.lines().filter(|line| line.chars().count() > 80);
        // A hash or a name is never cut.
        lines
            .filter(|line| line.split_whitespace().all(|word| word.len() < 60))
            .count()
    };
    assert_eq!((long(&english), long(&japanese)), (0, 0), "{english}");
    for word in ["certif", "opinion that", "verified emission", "compliant"] {
        assert!(!english.to_lowercase().contains(word), "{word}");
    }
    let mut broken = site.spec();
    broken.logs[0].payloads[5][20] ^= 1;
    let (code, text) = run(&files, &broken.write(), &["--language", "ja"]);
    assert_eq!(code, Some(2));
    assert!(
        text.replace(char::is_whitespace, "")
            .contains("計測値が署名されたものではない"),
        "{text}"
    );
    assert!(
        text.contains("E15") && text.contains("データの完全性:確認できず"),
        "{text}"
    );
}

#[test]
fn the_page_is_one_file_that_needs_nothing_else_and_says_what_the_text_says() {
    let site = solar_day();
    let files = Files::new(&site);
    let path = files.path("verdict.html").display().to_string();
    let listed = Disclosure::listed(["export.energy".to_owned()]).unwrap();
    let mut broken = site.spec();
    broken.logs[0].entries[100][40] ^= 1;
    let cases = [
        ("en", site.spec().write(), "DATA INTEGRITY: CONFIRMED"),
        ("ja", site.spec().write(), "データの完全性:確認、"),
        (
            "en",
            disclosed(&site, &listed).write(),
            "NOT CHECKED as a whole",
        ),
        ("en", broken.write(), "DATA INTEGRITY: NOT CONFIRMED"),
    ];
    for (language, bundle, words) in cases {
        let (_, text) = run(&files, &bundle, &["--html", &path, "--language", language]);
        let page = std::fs::read_to_string(&path).unwrap();
        assert!(page.contains(words), "{words}");
        assert!(page.starts_with(&format!("<!doctype html>\n<html lang=\"{language}\">")));
        for outside in [
            "http:", "https:", "src=", "href=", "<script", "url(", "@import",
        ] {
            assert!(!page.contains(outside), "{outside}");
        }
        let shown: String = page
            .split('<')
            .map(|part| part.split_once('>').map_or(part, |(_, text)| text))
            .collect::<Vec<_>>()
            .join(" ")
            .replace("&quot;", "\"")
            .replace("&#39;", "'")
            .replace("&gt;", ">")
            .replace("&lt;", "<")
            .replace("&amp;", "&");
        let squeeze = |text: &str| text.split_whitespace().collect::<String>();
        let shown = squeeze(&shown);
        // Every word of the text but its labels stands on the page, in the same order.
        let told = text
            .lines()
            .map(|line| line.chars().skip(13).collect::<String>());
        for line in told
            .map(|line| squeeze(&line))
            .filter(|line| line.len() > 4)
        {
            assert!(shown.contains(&line), "{line}");
        }
        assert!(
            shown.contains(&squeeze("This is not a verification opinion.")) || language == "ja"
        );
    }
    let (code, text) = run(
        &files,
        b"",
        &[
            "--html",
            "/nowhere/at/all.html",
            "--from",
            "2026-01-05",
            "--to",
            "2026-01-05",
        ],
    );
    assert_eq!(code, Some(6), "{text}");
}

#[test]
fn a_text_sealed_by_a_hostile_site_cannot_write_on_the_verifier_s_screen() {
    let witnesses = witnesses();
    let mut gateway = Gateway::new("example.com/gw/0001", 1, FROM_MS - HOUR_MS);
    gateway.configure(|_| {});
    gateway.control(evidence::control::Control::Annotation {
        from: 0,
        to: 1,
        text: "x\nFORGED LINE\n\u{1b}[2J\r<b>\u{202e}".to_owned(),
        person: None,
    });
    gateway.sample(TO_MS + HOUR_MS, &witnesses);
    let mut site = Site::new(vec![gateway], witnesses);
    site.close();
    let files = Files::new(&site);
    let path = files.path("verdict.html").display().to_string();
    let (code, text) = run(&files, &site.spec().write(), &["--html", &path]);
    assert_eq!(code, Some(0), "{text}");
    assert!(!text.contains('\u{1b}') && !text.contains('\r') && !text.contains('\u{202e}'));
    assert!(
        !text
            .lines()
            .any(|line| line.trim_start().starts_with("FORGED")),
        "{text}"
    );
    let page = std::fs::read_to_string(&path).unwrap();
    assert!(!page.contains("<b>") && page.contains("&lt;b&gt;"));
}
