//! K8sCop's own command line, as its description of 2019 has it (k8scop/k8s-security-dashboard, `alert-system/README.md`
//! and `app.py` at 880f89d): its options, and what they mean to a backfill.

use std::time::Duration;

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use super::{GIVE_UP, Options};
use crate::{
    alerts::{Fits, Glob, Override},
    config::{self, Config, OutputConfig},
    forward::ElasticsearchSettings,
    prepare::{AlertTarget, Route},
    rules::Level,
};

/// How times are written there: in UTC, zeros in front or not.
const FORM: &str =
    "give the time in UTC as year-month-day-hour-minute-second, such as 2019-2-1-0-0-0";

/// Until when a static analysis reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// All that is there.
    #[default]
    Now,
    /// Up to this second, with all that happened in it.
    At(Timestamp),
}

/// What K8sCop is told.
#[derive(Clone, Debug)]
pub struct Analysis {
    /// `-E`: host and port, or a URL.
    pub elastic: String,
    /// `-I`: what the names of the logs' indices begin with.
    pub pages: String,
    /// `-s`
    pub start: Timestamp,
    /// `-e`
    pub end: End,
    /// `-d`, if the analysis goes on with what comes in later.
    pub follow: Option<Duration>,
}

impl Analysis {
    /// The backfill that is meant.
    pub fn options(&self) -> Result<Options, String> {
        let second = Duration::from_secs(1);
        let to = match self.end {
            End::Now => None,
            End::At(end) if end < self.start => {
                return Err("--end (-e) is before --start (-s): nothing lies between them".into());
            }
            End::At(end) => Some(end.saturating_add(second).unwrap_or(Timestamp::MAX)),
        };
        Ok(Options {
            // An index a day, as Logstash and fluentd name it: logstash-2019.03.02. Those of other days hold nothing of
            // that time, and a list of days would not fit into the path of a request for years.
            index: format!("{}-*.*.*", self.pages),
            from: Some(self.start),
            to,
            follow: self.follow,
            // Who follows is not to be started again after each long night of the cluster.
            give_up: self.follow.map_or(GIVE_UP, |_| Duration::MAX),
            ..Options::default()
        })
    }

    /// The cluster, which is the configuration's output here: K8sCop speaks HTTP to host and port; a URL may say more.
    #[must_use]
    pub fn url(&self) -> String {
        match self.elastic.contains("://") {
            true => self.elastic.clone(),
            false => format!("http://{}", self.elastic),
        }
    }
}

/// The cluster is reached with the credentials and certificates that are configured; a password in its URL goes before.
pub fn reach_as_typed(config: &mut Config, typed: ElasticsearchSettings) {
    if let OutputConfig::Elasticsearch(settings) = &mut config.output
        && typed.credentials.is_some()
    {
        settings.credentials = typed.credentials;
    }
}

/// Alerts go where K8sCop puts them, into an index for each day, and are those that it raises: other than today's rules it
/// takes a look at one pod for one. What is configured goes before. Logs stay where they are, and there alerts point.
pub fn alert_as_it(config: &mut Config, prefix: &str) {
    const POD_LOOKED_AT: &str = "7f3c1a52-9d10-4b6e-8a20-000000000003";
    config.policy.alerts = AlertTarget::Daily(prefix.to_owned());
    config.policy.route = Route::Keep;
    let fits = Fits { rules: vec![Glob::new(POD_LOOKED_AT)], ..Fits::default() };
    let level = Some(Level::Low);
    config.policy.alerting.overrides.push(Override { fits, level, risk_score: None });
}

/// Reads `-s`.
pub fn start(text: &str) -> Result<Timestamp, String> {
    let parts: Option<Vec<i16>> = text.split('-').map(number).collect();
    let Some(&[year, month, day, hour, minute, second]) = parts.as_deref() else {
        return Err(FORM.into());
    };
    let small = |it: i16| i8::try_from(it).ok();
    let time = || {
        let (month, day) = (small(month)?, small(day)?);
        let (hour, minute, second) = (small(hour)?, small(minute)?, small(second)?);
        let time = DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
        time.to_zoned(TimeZone::UTC).ok()
    };
    // What is meant by year 19 is anybody's guess.
    let time =
        time().filter(|_| year >= 1970).ok_or_else(|| format!("there is no such time: {FORM}"))?;
    Ok(time.timestamp())
}

/// Reads `-e`.
pub fn end(text: &str) -> Result<End, String> {
    match text {
        "now" => Ok(End::Now),
        _ => start(text).map(End::At).map_err(|error| format!("{error}, or now")),
    }
}

/// Reads `-I` and `-i`: what names of indices begin with.
pub fn prefix(text: &str) -> Result<String, String> {
    match config::begins_index(text) {
        true => Ok(text.to_owned()),
        false => Err("no name of an index begins so; its date is appended: logstash becomes logstash-2019.03.02".into()),
    }
}

/// Digits only: a sign would be another dash.
fn number(text: &str) -> Option<i16> {
    text.bytes().all(|it| it.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::Credentials;

    fn analysis(start: &str, end: &str) -> Analysis {
        Analysis {
            elastic: "127.0.0.1:9200".into(),
            pages: "logstash".into(),
            start: self::start(start).unwrap(),
            end: self::end(end).unwrap(),
            follow: None,
        }
    }

    #[test]
    fn its_options_have_their_meaning() {
        let once = analysis("2019-2-1-0-0-0", "2019-03-02-0-0-00");
        assert_eq!(once.url(), "http://127.0.0.1:9200");
        let options = once.options().unwrap();
        assert_eq!(options.give_up, GIVE_UP);
        assert_eq!(options.index, "logstash-*.*.*");
        assert_eq!(options.from.unwrap().to_string(), "2019-02-01T00:00:00Z");
        assert_eq!(
            options.to.unwrap().to_string(),
            "2019-03-02T00:00:01Z",
            "the end's second is read"
        );
        assert_eq!((options.follow, options.write), (None, super::super::Write::Alerts));

        let open = Analysis {
            elastic: "https://user:password@es:9243".into(),
            follow: Some(Duration::from_secs(8)),
            ..analysis("2019-2-1-0-0-0", "now")
        };
        assert_eq!(open.url(), "https://user:password@es:9243");
        let options = open.options().unwrap();
        assert_eq!(options.give_up, Duration::MAX, "it waits for the cluster");
        assert_eq!((options.to, options.follow), (None, Some(Duration::from_secs(8))));
    }

    #[test]
    fn wrong_times_are_told_with_the_right_form() {
        for text in [
            "",
            "2019",
            "2019-2-1",
            "2019-2-1-0-0",
            "2019-2-1-0-0-0-0",
            "2019-2-30-0-0-0",
            "2019-13-1-0-0-0",
            "2019-2-1-24-0-0",
            "2019-2-1-0-60-0",
            "2019-2-1-0-0-60",
            "19-2-1-0-0-0",
            "2019-2-1-0-0--1",
            "2019-2-1-0-0-x",
            "2019-02-01T00:00:00Z",
            "99999-1-1-0-0-0",
            "2019-300-1-0-0-0",
            "+2019-2-1-0-0-0",
            "2019-2-1-0-0-",
            "now",
        ] {
            let told = start(text).unwrap_err();
            assert!(told.contains("such as 2019-2-1-0-0-0"), "{text}: {told}");
        }
        assert!(end("tomorrow").unwrap_err().ends_with(", or now"));
        assert!(analysis("2019-2-2-0-0-0", "2019-2-1-0-0-0").options().is_err());
        assert!(analysis("2019-2-1-0-0-0", "2019-2-1-0-0-0").options().is_ok(), "one second");
        assert_eq!(start("9999-12-30-22-0-0").unwrap(), start("9999-12-30-22-00-00").unwrap());
        assert!(start("9999-12-31-23-59-59").is_err(), "jiff tells no later time");
    }

    #[test]
    fn alerts_are_its_own() {
        let mut config =
            config::meant(config::Raw::default(), config::Overrides::default()).unwrap();
        alert_as_it(&mut config, "alerts");
        assert_eq!(config.policy.alerts, AlertTarget::Daily("alerts".into()));
        let rule = config.rules.iter().find(|it| it.title == "Pod looked at").unwrap();
        let level = |config: &Config| config.policy.alerting.grade(rule, "default", "").level;
        assert_eq!((rule.level, level(&config)), (Level::Informational, Level::Low));
        let labels = "alerts: {overrides: [{rules: [Pod looked at], level: informational}]}";
        let raw = config::parse(labels).unwrap();
        let mut configured = config::meant(raw, config::Overrides::default()).unwrap();
        alert_as_it(&mut configured, "alerts");
        assert_eq!(level(&configured), Level::Informational);
    }

    #[test]
    fn what_is_typed_goes_before_what_is_configured() {
        let told = "elasticsearch: { username: configured, password: x }";
        for (url, expected) in
            [("http://es:9200", "configured"), ("http://typed:y@es:9200", "typed")]
        {
            let overrides =
                config::Overrides { output: Some(url.into()), ..config::Overrides::default() };
            let mut config = config::meant(config::parse(told).unwrap(), overrides).unwrap();
            reach_as_typed(&mut config, config::typed_cluster(url, None, None).unwrap());
            let OutputConfig::Elasticsearch(settings) = config.output else { panic!("{url}") };
            let Some(Credentials::Basic { username, .. }) = settings.credentials else {
                panic!("{url}")
            };
            assert_eq!(username, expected);
        }
    }

    #[test]
    fn prefixes() {
        assert_eq!(prefix("logstash").unwrap(), "logstash");
        for text in ["", "Logs", "logs*", "_all", "-x", ".kibana", "a/b", "a,b", "a b"] {
            assert!(prefix(text).unwrap_err().contains("logstash-2019.03.02"), "{text}");
        }
    }
}
