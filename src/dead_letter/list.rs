use comfy_table::{ContentArrangement, Table, presets::NOTHING};

use super::{
    DeadLetterError, ListOptions, Source, Voices,
    letter::{Letter, cut},
};
use crate::config::Config;

/// Longest text in a column (characters).
const CELL_CHARS_MAX: usize = 60;
/// Longest reason (characters).
const REASON_CHARS_MAX: usize = 120;

/// Shows the letters that are meant, the oldest first.
pub async fn list(
    config: &Config,
    options: &ListOptions,
    voices: &mut Voices<'_>,
) -> Result<(), DeadLetterError> {
    let mut source = Source::new(config, &options.filter, options.json, voices)?;
    let (mut rows, mut count) = (Vec::new(), 0_usize);
    while let Some(letters) = source.next().await? {
        for letter in letters {
            count += 1;
            if count > options.limit {
                continue;
            }
            if options.json {
                (voices.print)(&letter.json());
            } else {
                rows.push(row(&letter));
            }
        }
        if count >= options.limit {
            source.only_count();
        }
    }
    source.end(voices).await;
    let mut summary = format!("{count} dead letters");
    if count > options.limit {
        summary.push_str(&format!(" (shown are the oldest {}: --limit, --since)", options.limit));
    }
    if options.json {
        (voices.tell)(&summary);
        return Ok(());
    }
    if !rows.is_empty() {
        (voices.print)(&table(rows));
        (voices.print)("");
    }
    (voices.print)(&summary);
    Ok(())
}

fn row(letter: &Letter) -> [String; 7] {
    let cell = |text: &str| cut(text, CELL_CHARS_MAX);
    [
        cell(&letter.time),
        cell(letter.index.as_deref().unwrap_or("-")),
        cell(&letter.operation),
        letter.status.to_string(),
        cell(&letter.error_type),
        cut(&letter.reason, REASON_CHARS_MAX),
        cell(&letter.id),
    ]
}

fn table(rows: Vec<[String; 7]>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["TIME", "INDEX", "OPERATION", "STATUS", "ERROR", "REASON", "ID"]);
    for row in rows {
        table.add_row(row);
    }
    table.trim_fmt()
}
