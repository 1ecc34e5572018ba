//! The table of limits says what is so: its tests are there, and its defaults are those of the example settings.

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Rows of the table: one that is gone fails.
    const ROWS: usize = 35;

    fn read(path: &str) -> String {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// What, limit, setting, why, tests.
    fn rows(table: &str) -> Vec<Vec<&str>> {
        table
            .lines()
            .filter(|line| line.starts_with("| ") && !line.starts_with("| what |"))
            .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
            .collect()
    }

    #[test]
    fn every_limit_has_its_default_its_reason_and_its_test() {
        let table = read("gateway/LIMITS.md");
        let settings: toml::Value = toml::from_str(&read("conf/examples/gateway.toml")).unwrap();
        let rows = rows(&table);
        assert_eq!(rows.len(), ROWS);
        for row in rows {
            let [what, limit, setting, why, tests] = row[..] else { panic!("{row:?}") };
            assert!(!why.is_empty(), "{what} has no reason");
            if setting != "fixed" {
                let (table, key) = setting.trim_matches('`').split_once('.').unwrap();
                let default = settings.get(table).and_then(|table| table.get(key));
                let default = default.unwrap_or_else(|| panic!("{what}: {setting} is no setting"));
                let default = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
                // A rate stands there with its second, memory with its window.
                let same =
                    limit == default || limit.starts_with(&format!("{default} ")) || key == "replay_window";
                assert!(same, "{what}: {limit}, and by default it is {default}");
            }
            for test in tests.split(", ") {
                let (file, name) = test.split_once("::").unwrap();
                let text = read(file);
                let at = text.find(&format!("fn {name}(")).unwrap_or_else(|| panic!("{test} is not there"));
                let attribute = text[..at].rsplit_once("#[").map_or("", |(_, attribute)| attribute);
                let is_test = attribute.starts_with("test]") || attribute.starts_with("tokio::test");
                assert!(is_test || file.contains("/attacks/"), "{test} is no test");
            }
        }
    }
}
