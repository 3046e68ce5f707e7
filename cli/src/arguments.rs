//! What the command line says.

use std::ffi::OsString;

use catga::MessageId;

/// How the tool is used.
pub(crate) const HELP: &str = "\
Looks at an application of catga on a NATS server.

  catga dead list            the dead letters, oldest first
  catga dead show <ID>       all of one: the event, its failure, its payload
  catga dead replay <ID>     has the handler that gave up run again, and deletes the dead letter
  catga dead delete <ID>     deletes it
  catga tap [SUBJECT]        what travels, one line a message, until Ctrl-C; SUBJECT may have wildcards,
                             such as 'catga.event.>'
      --payload              with the payloads, shortened: they may hold what is not for every eye

  --app <NAME>               the application (catga)

The server and the credentials are those of the environment, under the names that the `nats` command uses: NATS_URL
(nats://localhost:4222), NATS_USER and NATS_PASSWORD, NATS_TOKEN, NATS_CREDS, NATS_NKEY, NATS_CA, NATS_CERT and NATS_KEY.
Ends with 0 if it did what was asked, 1 if that failed, 2 if it was asked wrongly.
";

/// What is asked.
#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    Help,
    Work { app: String, work: Work },
}

#[derive(Debug, PartialEq)]
pub(crate) enum Work {
    Dead(Task),
    Tap(TapOptions),
}

/// What is to be done with dead letters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Task {
    List,
    Show(MessageId),
    Replay(MessageId),
    Delete(MessageId),
}

/// What is to be shown of what travels.
#[derive(Debug, PartialEq)]
pub(crate) struct TapOptions {
    /// `None` for all that nodes send.
    pub(crate) subject: Option<String>,
    pub(crate) payload: bool,
}

/// Reads the arguments, without the name of the program.
///
/// # Errors
///
/// A sentence that says what is wrong.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let (mut app, mut payload, mut words) = (None, false, Vec::new());
    let mut arguments =
        arguments.map(|argument| argument.into_string().map_err(|_| "an argument is no text".to_owned()));
    while let Some(argument) = arguments.next().transpose()? {
        match argument.as_str() {
            "-h" | "--help" => return Ok(Command::Help),
            "--payload" => payload = true,
            "--app" if app.is_some() => return Err("`--app` is given twice".to_owned()),
            "--app" => app = Some(arguments.next().transpose()?.ok_or("`--app` is followed by a name")?),
            option if option.starts_with('-') => return Err(format!("there is no option `{option}`")),
            _ => words.push(argument),
        }
    }
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let work = match words[..] {
        [] => return Err("say what to do".to_owned()),
        ["help"] => return Ok(Command::Help),
        ["tap"] => Work::Tap(TapOptions { subject: None, payload }),
        ["tap", subject] => Work::Tap(TapOptions { subject: Some(subject.to_owned()), payload }),
        ["dead", ref task @ ..] if !payload => Work::Dead(self::task(task)?),
        ["dead", ..] => return Err("`--payload` belongs to `tap`; `dead show` always shows it".to_owned()),
        _ => return Err(format!("there is no command `{}`", words.join(" "))),
    };
    Ok(Command::Work { app: app.unwrap_or_else(|| "catga".to_owned()), work })
}

fn task(words: &[&str]) -> Result<Task, String> {
    let id = |text: &str| text.parse().map_err(|_| format!("`{text}` is not the id of a dead letter"));
    match words {
        ["list"] => Ok(Task::List),
        ["show", text] => Ok(Task::Show(id(text)?)),
        ["replay", text] => Ok(Task::Replay(id(text)?)),
        ["delete", text] => Ok(Task::Delete(id(text)?)),
        ["show" | "replay" | "delete"] => Err(format!("`dead {}` is followed by the id of a dead letter", words[0])),
        [] => Err("`dead` is followed by what to do".to_owned()),
        _ => Err(format!("there is no command `dead {}`", words.join(" "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        super::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn options_may_stand_anywhere() {
        let id = MessageId::new();
        let replay = Command::Work { app: "shop".to_owned(), work: Work::Dead(Task::Replay(id)) };
        for line in [format!("--app shop dead replay {id}"), format!("dead replay {id} --app shop")] {
            assert_eq!(parse(&line).as_ref(), Ok(&replay));
        }
        let tap = TapOptions { subject: Some("catga.event.>".to_owned()), payload: true };
        assert_eq!(
            parse("tap --payload catga.event.>"),
            Ok(Command::Work { app: "catga".to_owned(), work: Work::Tap(tap) })
        );
        assert_eq!(parse("dead list --help"), Ok(Command::Help));
    }

    #[test]
    fn a_mistake_is_said_in_a_sentence() {
        for (line, says) in [
            ("", "what to do"),
            ("dread list", "`dread list`"),
            ("dead", "what to do"),
            ("dead show", "the id"),
            ("dead show 7", "`7`"),
            ("dead list all", "`dead list all`"),
            ("dead list --payload", "`tap`"),
            ("tap a b", "`tap a b`"),
            ("tap --color", "`--color`"),
            ("tap --app", "a name"),
            ("tap --app a --app b", "twice"),
        ] {
            let mistake = parse(line).expect_err(line);
            assert!(mistake.contains(says), "{line}: {mistake}");
        }
    }
}
