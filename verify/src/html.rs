//! The verdict as one self-contained page for the file: no script, no address, made for print.

use std::fmt::Write as _;

use crate::catalogue::Language;
use crate::print::{Page, Said, Tone, number, page};
use crate::verdict::{StreamVerdict, Verdict};

const STYLE: &str = "\
@page{size:A4;margin:16mm}\
body{font:15px/1.5 system-ui,'Noto Sans','Noto Sans CJK JP','Hiragino Sans','Yu Gothic',sans-serif;color:#1b1f24;background:#fff;\
max-width:62rem;margin:2rem auto;padding:0 1.2rem}\
h1{font-size:1.5rem;margin:0 0 .2rem}h2{font-size:1.1rem;margin:2rem 0 .5rem;border-bottom:1px solid #d5dae0;padding-bottom:.2rem}\
.file{color:#57606a;overflow-wrap:anywhere;margin:0 0 1rem}\
.said p{margin:.35rem 0;padding:.15rem .8rem;border-left:.3rem solid #d5dae0}\
.said .good{border-color:#1a7f37;font-weight:600}.said .bad{border-color:#cf222e;font-weight:600}.said .doubt{border-color:#9a6700;font-weight:600}\
.said .opinion{font-weight:600}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.25rem .6rem .25rem 0;border-bottom:1px solid #eceff2}\
th{width:9rem;font-weight:600;color:#424a53}td{overflow-wrap:anywhere}tr.more th,tr.more td{border-top:0}\
.failures td{color:#a40e26}.failures th{width:16rem;color:#a40e26}\
.share{margin:.7rem 0 .1rem}.bar{display:flex;height:1.1rem;border:1px solid #8c959f;margin:.15rem 0}.bar span{display:block}\
.m{background:#2da44e}.g{background:repeating-linear-gradient(45deg,#bf8700 0 4px,#ffdf9e 4px 8px)}.h{background:#fff}\
.key span{display:inline-block;width:1.4rem;height:.8rem;border:1px solid #8c959f;margin:0 .3rem 0 1rem;vertical-align:middle}\
pre{border:1px solid #d5dae0;padding:.6rem;overflow-x:auto;white-space:pre-wrap;overflow-wrap:anywhere;font-size:.8rem}\
footer{margin-top:2rem;color:#57606a;font-size:.85rem}\
tr,.said p,.bar,pre{break-inside:avoid}\
@media print{body{margin:0;max-width:none;font-size:11px}.m,.g{print-color-adjust:exact;-webkit-print-color-adjust:exact}}";

/// The page. `file` is the bundle's name as the verifier gave it.
pub(crate) fn html(verdict: &Verdict, language: Language, file: &str) -> String {
    let page = page(verdict, language);
    let title = language.t("title");
    let mut out = format!(
        "<!doctype html>\n<html lang=\"{}\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <title>{}</title><style>{STYLE}</style></head><body>\n",
        language.code(),
        escaped(&title)
    );
    put(&mut out, &format!("<h1>{}</h1>\n", escaped(&title)));
    put(
        &mut out,
        &format!(
            "<p class=\"file\">{}: {}<br>sha256 {}</p>\n",
            escaped(&language.t("label_file")),
            escaped(file),
            escaped(&verdict.bundle_sha256)
        ),
    );
    conclusion(&mut out, &page);
    failures(&mut out, &page);
    facts(&mut out, verdict, &page);
    let made = language.f(
        "html_made",
        &[&"fieldseal-verify", &env!("CARGO_PKG_VERSION")],
    );
    put(
        &mut out,
        &format!(
            "<footer><p>{}</p><p>{}</p></footer>\n</body></html>\n",
            escaped(&made),
            escaped(&language.t("html_limits"))
        ),
    );
    out
}

fn put(out: &mut String, text: &str) {
    out.push_str(text);
}

fn conclusion(out: &mut String, page: &Page) {
    let l = page.language;
    put(
        out,
        &format!(
            "<h2>{}</h2>\n<div class=\"said\">\n",
            escaped(&l.t("html_conclusion"))
        ),
    );
    let opinion = l.t("no_opinion");
    for Said { tone, text } in &page.conclusion {
        let class = match tone {
            Tone::Good => "good",
            Tone::Bad => "bad",
            Tone::Doubt => "doubt",
            Tone::Plain if *text == opinion => "opinion",
            Tone::Plain => "plain",
        };
        put(
            out,
            &format!("<p class=\"{class}\">{}</p>\n", escaped(text)),
        );
    }
    put(out, "</div>\n");
}

fn failures(out: &mut String, page: &Page) {
    let l = page.language;
    if page.failures.is_empty() && page.forks.is_empty() {
        return;
    }
    put(
        out,
        &format!(
            "<h2>{}</h2>\n<table class=\"failures\">\n",
            escaped(&l.t("html_failures"))
        ),
    );
    for failure in &page.failures {
        put(
            out,
            &format!(
                "<tr><th>{}</th><td>{}</td></tr>\n",
                escaped(&failure.title),
                escaped(&failure.text)
            ),
        );
    }
    put(out, "</table>\n");
    for fork in &page.forks {
        put(
            out,
            &format!(
                "<p>{}: {}</p>\n",
                escaped(&l.t("label_fork")),
                escaped(&fork.text)
            ),
        );
        for (what, note) in &fork.notes {
            put(
                out,
                &format!("<p>{}</p><pre>{}</pre>\n", escaped(what), escaped(note)),
            );
        }
    }
}

fn facts(out: &mut String, verdict: &Verdict, page: &Page) {
    let l = page.language;
    put(out, &format!("<h2>{}</h2>\n", escaped(&l.t("html_logs"))));
    for log in verdict.logs.iter().filter(|log| log.complete) {
        for stream in log.streams.iter().filter(|stream| stream.relevant) {
            bar(out, l, &log.origin, stream);
        }
    }
    put(
        out,
        &format!(
            "<p class=\"key\"><span class=\"m\"></span>{}<span class=\"g\"></span>{}<span class=\"h\"></span>{}</p>\n",
            escaped(&l.t("html_measured")),
            escaped(&l.t("html_gap")),
            escaped(&l.t("html_hole"))
        ),
    );
    put(out, "<table>\n");
    for fact in &page.facts {
        let more = if fact.label.is_empty() {
            " class=\"more\""
        } else {
            ""
        };
        put(
            out,
            &format!(
                "<tr{more}><th>{}</th><td>{}</td></tr>\n",
                escaped(&fact.label),
                escaped(&fact.text)
            ),
        );
    }
    put(out, "</table>\n");
}

/// Where the ticks of a stream went, as shares of a bar.
fn bar(out: &mut String, l: Language, origin: &str, stream: &StreamVerdict) {
    let gap: u64 = stream.gaps.values().map(|gap| gap.ticks).sum();
    let all = (stream.measured + gap + stream.holes).max(1);
    let share = |ticks: u64| {
        let thousandths = u128::from(ticks) * 100_000 / u128::from(all);
        format!("{}.{:03}%", thousandths / 1000, thousandths % 1000)
    };
    let mut parts = String::new();
    for (class, ticks) in [("m", stream.measured), ("g", gap), ("h", stream.holes)] {
        if ticks > 0 {
            write!(
                parts,
                "<span class=\"{class}\" style=\"width:{}\"></span>",
                share(ticks)
            )
            .expect("a String takes every write");
        }
    }
    let label = l.f(
        "html_bar",
        &[
            &origin,
            &stream.stream,
            &number(stream.measured),
            &number(stream.expected),
        ],
    );
    put(
        out,
        &format!(
            "<p class=\"share\">{}</p><div class=\"bar\">{parts}</div>\n",
            escaped(&label)
        ),
    );
}

/// Text that cannot be anything but text.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn a_text_of_a_log_stays_a_text_in_the_page() {
        assert_eq!(
            escaped("<script a='1' b=\"2\">&"),
            "&lt;script a=&#39;1&#39; b=&quot;2&quot;&gt;&amp;"
        );
    }
}
