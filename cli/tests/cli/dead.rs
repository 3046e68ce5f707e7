//! Dead letters, from the handler that gives up to the one that is mended.

use catga::MessageId;

use crate::{
    shop::{Paid, Till, dead_letters, node, until},
    support::{output, run, server},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_listed_shown_replayed_and_gone() {
    let (server, till) = (server(), Till::default());
    let mediator = node(&server.url(), &till).await;
    let url = server.url();
    assert_eq!(output(&url, "dead list --app shop"), "there are no dead letters\n");

    mediator.publish(Paid { order: 7, note: "a \u{1b}[2J b".to_owned() }).await.unwrap();
    let id = dead_letters(&mediator, 1).await[0].to_string();
    let list = output(&url, "dead list --app shop");
    let lines: Vec<_> = list.lines().collect();
    assert_eq!(lines.len(), 2, "{list}");
    for (heading, cell) in [
        ("ID", &*id),
        ("TIME", "20"),
        ("TYPE", "shop.Paid"),
        ("HANDLER", "shop.book"),
        ("ATTEMPTS", "1"),
        ("CODE", "closed"),
        ("MESSAGE", "run 1: account 7\\u{a}is closed"),
    ] {
        let column = lines[0].find(heading).expect(heading);
        assert!(lines[1][column..].starts_with(cell), "{heading}:\n{list}");
    }

    let shown = output(&url, &format!("--app shop dead show {id}"));
    for part in
        [&*id, "shop.Paid", "shop.book", "n.node1", "permanent", "\n  \"order\": 7,\n  \"note\": \"a \\u001b[2J b\"\n}"]
    {
        assert!(shown.contains(part), "{part}:\n{shown}");
    }

    till.mend();
    assert!(output(&url, &format!("dead replay {id} --app shop")).contains(&id));
    until(async || till.booked() == 1).await;
    for task in ["show", "replay", "delete"] {
        let said = run(&url, &format!("dead {task} {id} --app shop"));
        assert_eq!((said.code, said.output.as_str()), (Some(1), ""), "{task}");
        assert!(said.errors.contains(&format!("there is no dead letter {id}")), "{}", said.errors);
    }
    assert_eq!(output(&url, "dead list --app shop"), "there are no dead letters\n");
    mediator.shutdown().await.unwrap();
    assert_eq!(till.booked(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_there_when_every_node_has_gone_and_are_deleted_one_by_one() {
    let (server, till) = (server(), Till::default());
    let mediator = node(&server.url(), &till).await;
    // More than the tool asks for at a time.
    let events = (0..120).map(|order| Paid { order, note: String::new() });
    mediator.publish_all(events).await.unwrap();
    let ids = dead_letters(&mediator, 120).await;
    mediator.shutdown().await.unwrap();
    let url = server.url();
    let list = output(&url, "dead list --app shop");
    let listed: Vec<_> = list.lines().skip(1).map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(listed, ids.iter().map(MessageId::to_string).collect::<Vec<_>>());

    // Another application has nothing to do with them.
    let said = run(&url, &format!("dead delete {}", ids[0]));
    assert_eq!(said.code, Some(1), "{}", said.output);
    output(&url, &format!("dead delete {} --app shop", ids[0]));
    assert!(!output(&url, "dead list --app shop").contains(&ids[0].to_string()));
    assert!(output(&url, "dead list --app shop").contains(&ids[1].to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_is_dumped_and_cannot_be_replayed() {
    let (server, till) = (server(), Till::default());
    let mediator = node(&server.url(), &till).await;
    let client = async_nats::connect(server.url()).await.unwrap();
    client.publish("shop.reliable.shop.Paid", "\u{0}no message".into()).await.unwrap();
    let id = dead_letters(&mediator, 1).await[0];
    let url = server.url();
    assert!(output(&url, "dead list --app shop").contains("unreadable"));
    let shown = output(&url, &format!("dead show {id} --app shop"));
    assert!(shown.contains("00 6e 6f 20") && shown.contains(".no message"), "{shown}");
    let said = run(&url, &format!("dead replay {id} --app shop"));
    assert_eq!(said.code, Some(1));
    assert!(said.errors.contains("only be looked at and deleted"), "{}", said.errors);
    mediator.shutdown().await.unwrap();
}
