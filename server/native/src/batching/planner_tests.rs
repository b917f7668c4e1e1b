use super::*;

fn rules(limit: usize) -> Rules {
    Rules {
        max_batch_size: limit,
        batch_timeout: 0.0,
        max_enqueued_batches: 10,
        allowed_batch_sizes: Vec::new(),
        pad: false,
        splitting: false,
        max_execution_batch_size: limit,
    }
}

fn planner(slots: usize, rules: Rules) -> (Planner, QueueId) {
    let mut planner = Planner::new(slots);
    let queue = planner.open(Arc::new(rules));
    (planner, queue)
}

fn layout(inner: &[i64]) -> Layout {
    vec![(Arc::from("x:0"), inner.to_vec())]
}

fn add(planner: &mut Planner, queue: QueueId, rows: usize, now: f64) -> RequestId {
    planner
        .add(queue, rows, Vec::new(), None, now)
        .expect("there is room")
}

fn rows(batch: Option<&Batch>) -> Vec<usize> {
    batch.map_or_else(Vec::new, |batch| {
        batch.pieces.iter().map(|piece| piece.rows).collect()
    })
}

fn taken(planner: &mut Planner, now: f64) -> Batch {
    planner.take(now).expect("a batch is due")
}

fn end(planner: &mut Planner, batch: &Batch, now: f64) {
    planner.finish(batch, now);
    for piece in &batch.pieces {
        planner.finish_piece(piece.request);
    }
}

#[test]
fn a_lone_request_runs_at_once() {
    let (mut planner, queue) = planner(1, rules(4));
    for now in [0.0, 1.0, 2.0] {
        add(&mut planner, queue, 1, now);
        let batch = taken(&mut planner, now);
        assert_eq!(rows(Some(&batch)), [1]);
        end(&mut planner, &batch, now + 0.5);
        assert_eq!(planner.next_due(), None);
    }
    assert!(planner.enter(queue, 1));
    assert!(!planner.enter(queue, 1), "there is one slot");
    assert!(!planner.leave(queue, 1, 3.0, 3.1));
    assert!(!planner.busy(queue));
}

#[test]
fn requests_that_wait_run_together_in_their_order_and_never_beyond_a_batch() {
    let (mut planner, queue) = planner(1, rules(4));
    add(&mut planner, queue, 1, 0.0);
    let running = taken(&mut planner, 0.0);
    let waiting: Vec<RequestId> = [1, 2, 1, 4]
        .into_iter()
        .map(|rows| add(&mut planner, queue, rows, 0.1))
        .collect();
    assert!(planner.take(0.1).is_none());
    end(&mut planner, &running, 0.2);
    let second = taken(&mut planner, 0.2);
    let together: Vec<RequestId> = second.pieces.iter().map(|piece| piece.request).collect();
    assert_eq!(together, waiting[..3]);
    end(&mut planner, &second, 0.3);
    assert_eq!(rows(planner.take(0.3).as_ref()), [4]);
}

#[test]
fn a_timeout_is_waited_for_and_a_full_batch_is_not() {
    let (mut planner, queue) = planner(
        2,
        Rules {
            batch_timeout: 0.5,
            ..rules(4)
        },
    );
    add(&mut planner, queue, 1, 10.0);
    assert!(planner.take(10.4).is_none());
    assert_eq!(planner.next_due(), Some(10.5));
    assert!(!planner.enter(queue, 1));
    assert_eq!(rows(planner.take(10.5).as_ref()), [1]);
    for _ in 0..4 {
        add(&mut planner, queue, 1, 11.0);
    }
    assert_eq!(rows(planner.take(11.0).as_ref()), [1; 4]);
}

#[test]
fn a_crowd_comes_back_before_its_next_batch_runs_but_is_not_waited_for_long() {
    let (mut planner, queue) = planner(2, rules(4));
    for _ in 0..8 {
        add(&mut planner, queue, 1, 0.0);
    }
    let (first, second) = (taken(&mut planner, 0.0), taken(&mut planner, 0.0));
    end(&mut planner, &first, 1.0);
    add(&mut planner, queue, 1, 1.0);
    assert!(planner.take(1.0).is_none(), "three more are on their way");
    assert_eq!(planner.next_due(), Some(2.0), "a batch takes one second");
    for _ in 0..3 {
        add(&mut planner, queue, 1, 1.1);
    }
    let third = taken(&mut planner, 1.1);
    assert_eq!(rows(Some(&third)), [1; 4]);
    end(&mut planner, &second, 1.2);
    add(&mut planner, queue, 1, 1.2);
    end(&mut planner, &third, 2.1);
    assert!(!planner.enter(queue, 1));
    assert!(planner.take(2.1).is_none());
    assert_eq!(rows(planner.take(2.1 + RETURN_SECONDS).as_ref()), [1]);
}

#[test]
fn slots_are_shared_and_queues_take_turns() {
    let (mut planner, busy) = planner(1, rules(2));
    let quiet = planner.open(Arc::new(rules(2)));
    for _ in 0..6 {
        add(&mut planner, busy, 1, 0.0);
    }
    let mut running = taken(&mut planner, 0.0);
    add(&mut planner, quiet, 1, 0.1);
    let mut order = Vec::new();
    for now in [1.0, 2.0, 3.0] {
        end(&mut planner, &running, now);
        running = taken(&mut planner, now);
        order.push(running.queue);
    }
    assert_eq!(order, [busy, quiet, busy]);
}

#[test]
fn too_large_and_too_many_are_refused_and_change_nothing() {
    let (mut planner, queue) = planner(
        1,
        Rules {
            max_enqueued_batches: 1,
            ..rules(4)
        },
    );
    let refused = planner.add(queue, 5, Vec::new(), None, 0.0);
    assert_eq!(refused, Err(Failure::too_large(5, 4)));
    add(&mut planner, queue, 4, 0.0);
    let running = taken(&mut planner, 0.0);
    add(&mut planner, queue, 3, 0.0);
    let refused = planner.add(queue, 2, Vec::new(), None, 0.0);
    assert_eq!(refused, Err(Failure::full(1, 1)));
    add(&mut planner, queue, 1, 0.0); // there is still room in the one that is open
    end(&mut planner, &running, 1.0);
    assert_eq!(rows(planner.take(1.0).as_ref()), [3, 1]);
}

#[test]
fn the_request_of_another_shape_is_refused_alone_or_opens_a_batch_where_inputs_are_padded() {
    for pad in [false, true] {
        let (mut planner, queue) = planner(1, Rules { pad, ..rules(4) });
        add(&mut planner, queue, 1, 0.0);
        let running = taken(&mut planner, 0.0);
        let mut ask = |inner: &[i64]| planner.add(queue, 1, layout(inner), None, 0.0);
        assert!(ask(&[3]).is_ok());
        let other = ask(&[2]);
        if pad {
            assert!(other.is_ok());
        } else {
            let failure = other.expect_err("another shape");
            assert_eq!(
                failure,
                Failure::different_shapes(&layout(&[3]), &layout(&[2]))
            );
            assert!(failure.message.starts_with("Tensors with name 'x:0' from"));
            assert!(ask(&[3]).is_ok());
        }
        end(&mut planner, &running, 1.0);
        let sizes = rows(planner.take(1.0).as_ref());
        assert_eq!(sizes, if pad { vec![1] } else { vec![1, 1] });
    }
}

#[test]
fn a_large_request_is_split_over_batches_that_others_join() {
    let (mut planner, queue) = planner(
        1,
        Rules {
            max_batch_size: 9,
            splitting: true,
            ..rules(4)
        },
    );
    add(&mut planner, queue, 4, 0.0);
    let mut running = taken(&mut planner, 0.0);
    let small = add(&mut planner, queue, 1, 0.0);
    let large = add(&mut planner, queue, 9, 0.0);
    let mut pieces = Vec::new();
    for now in [1.0, 2.0, 3.0] {
        end(&mut planner, &running, now);
        running = taken(&mut planner, now + 0.5);
        assert!(running.rows <= 4);
        pieces.extend(running.pieces.clone());
    }
    let piece = |request, start, rows| Piece {
        request,
        start,
        rows,
    };
    let expected = [
        piece(small, 0, 1),
        piece(large, 0, 3),
        piece(large, 3, 4),
        piece(large, 7, 2),
    ];
    assert_eq!(pieces, expected);
    assert_eq!(planner.rows(large), Some(9), "its last piece runs");
    end(&mut planner, &running, 4.0);
    assert_eq!(planner.rows(large), None);
}

#[test]
fn what_is_late_is_left_out_and_told_once() {
    let (mut planner, queue) = planner(1, rules(4));
    add(&mut planner, queue, 1, 0.0);
    let running = taken(&mut planner, 0.0);
    let late = planner.add(queue, 1, Vec::new(), Some(0.5), 0.0);
    let in_time = planner.add(queue, 1, Vec::new(), Some(2.0), 0.0);
    end(&mut planner, &running, 1.0);
    let batch = taken(&mut planner, 1.0);
    assert_eq!(batch.pieces[0].request, in_time.expect("taken"));
    assert_eq!(rows(Some(&batch)), [1]);
    assert_eq!(planner.expired(), [late.expect("taken")]);
    assert!(planner.expired().is_empty());
}

#[test]
fn what_is_withdrawn_makes_room() {
    let (mut planner, queue) = planner(
        1,
        Rules {
            max_enqueued_batches: 1,
            ..rules(4)
        },
    );
    add(&mut planner, queue, 4, 0.0);
    let running = taken(&mut planner, 0.0);
    let gone = add(&mut planner, queue, 4, 0.0);
    planner.withdraw(queue, gone);
    add(&mut planner, queue, 4, 0.0);
    end(&mut planner, &running, 1.0);
    let batch = taken(&mut planner, 1.0);
    end(&mut planner, &batch, 2.0);
    assert!(planner.take(2.0).is_none());
    assert!(!planner.busy(queue));
}

#[test]
fn a_queue_that_closes_has_its_last_batch_due_and_takes_nothing_once_it_is_forgotten() {
    let (mut planner, queue) = planner(
        1,
        Rules {
            batch_timeout: 60.0,
            ..rules(4)
        },
    );
    add(&mut planner, queue, 1, 0.0);
    assert!(planner.take(0.0).is_none());
    planner.close(queue);
    let batch = taken(&mut planner, 0.0);
    planner.forget(queue);
    assert!(planner.busy(queue), "it runs");
    end(&mut planner, &batch, 1.0);
    planner.forget(queue);
    let refused = planner.add(queue, 1, Vec::new(), None, 1.0);
    assert_eq!(refused, Err(Failure::unloaded()));
    assert!(!planner.enter(queue, 1));
}

#[test]
fn any_requests_run_once_each_row_and_within_the_bounds() {
    // A fixed sequence of numbers that look like chance.
    let mut seed = 7_u64;
    let mut number = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % below
    };
    for round in 0..200 {
        let splitting = round % 2 == 0;
        let limit = 1 + number(6) as usize;
        let (mut planner, queue) = planner(
            2,
            Rules {
                max_batch_size: if splitting { 20 } else { limit },
                splitting,
                batch_timeout: if round % 3 == 0 { 0.5 } else { 0.0 },
                max_enqueued_batches: 3,
                ..rules(limit)
            },
        );
        let (mut now, mut running, mut left) = (0.0, Vec::new(), HashMap::new());
        for _ in 0..300 {
            now += number(3) as f64 / 10.0;
            match number(4) {
                0 | 1 => {
                    let size = number(limit as u64 + 2) as usize;
                    if let Ok(request) = planner.add(queue, size, Vec::new(), None, now) {
                        left.insert(request, size);
                    }
                }
                2 => {
                    let some = left.keys().copied().min();
                    if let Some(request) = some.filter(|_| number(4) == 0) {
                        planner.withdraw(queue, request);
                        left.remove(&request);
                    }
                }
                _ if !running.is_empty() => {
                    let batch: Batch = running.remove(0);
                    planner.finish(&batch, now);
                    for piece in &batch.pieces {
                        if let Some(rest) = left.get_mut(&piece.request) {
                            *rest -= piece.rows;
                            if planner.finish_piece(piece.request) {
                                assert_eq!(left.remove(&piece.request), Some(0));
                            }
                        }
                    }
                }
                _ => {}
            }
            while let Some(batch) = planner.take(now) {
                assert!(batch.rows <= limit && !batch.pieces.is_empty());
                running.push(batch);
            }
            assert!(running.len() <= 2);
        }
    }
}
