;; Delegating: past which handlers, and to whom.

(module
  (tag $a (param i32))
  (tag $b)
  (tag $d (param i64))

  (func $throw (param i32)
    (block (block (block (block (br_table 0 1 2 3 (local.get 0)))
      (throw $a (i32.const 11)))
      (throw $b))
      (throw $d (i64.const 13))))

  ;; The handler of $middle is passed over.
  (func (export "past-one") (param i32) (result i32)
    (try $target (result i32)
      (do
        (try $middle (result i32)
          (do
            (try (result i32)
              (do (call $throw (local.get 0)) (i32.const 1))
              (delegate $target)))
          (catch_all (i32.const -1))))
      (catch $a)
      (catch_all (i32.const 2))))

  ;; What the target does not catch goes on outwards from the target, past $middle.
  (func (export "past-and-on") (param i32) (result i32)
    (try (result i32)
      (do
        (try $target (result i32)
          (do
            (try $middle (result i32)
              (do
                (try (result i32)
                  (do (call $throw (local.get 0)) (i32.const 1))
                  (delegate $target)))
              (catch_all (i32.const -1))))
          (catch $a)))
      (catch $b (i32.const 3))
      (catch $d (i32.wrap_i64))))

  ;; … and out of the function, if nobody does.
  (func $leaves (export "leaves") (param i32) (result i32)
    (try $target (result i32)
      (do
        (try $middle (result i32)
          (do
            (try (result i32)
              (do (call $throw (local.get 0)) (i32.const 1))
              (delegate $target)))
          (catch_all (i32.const -1))))
      (catch $a)))
  (func (export "caller-of-leaves") (param i32) (result i32)
    (try (result i32)
      (do (call $leaves (local.get 0)))
      (catch $b (i32.const 4))
      (catch $d (i32.wrap_i64))))

  ;; To the function's own label: past every handler in it.
  (func $to-caller (param i32) (result i32 i64)
    (try (result i32 i64)
      (do
        (try (result i32 i64)
          (do
            (try (result i32 i64)
              (do (call $throw (local.get 0)) (i32.const 1) (i64.const 2))
              (delegate 2)))
          (catch_all (i32.const -1) (i64.const -1))))
      (catch_all (i32.const -2) (i64.const -2))))
  (func (export "to-caller") (param i32) (result i32 i64)
    (try (result i32 i64)
      (do (call $to-caller (local.get 0)))
      (catch $a (i64.const 21))
      (catch $b (i32.const 22) (i64.const 23))
      (catch $d (i32.const 24) (i64.const 25) (drop) (unreachable))))

  ;; A delegating function whose own result passes through it undisturbed.
  (func (export "no-throw-with-branches") (param i32) (result i32)
    (try (result i32)
      (do
        (block $out (result i32)
          (try (result i32)
            (do
              (br_if $out (i32.const 5) (local.get 0)) (drop)
              (return (i32.const 6)))
            (delegate 2))
          (i32.const 100) (i32.add)))
      (catch_all (i32.const -1))))

  ;; To a block, and to a loop: to whoever handles what is thrown inside it.
  (func (export "to-block-and-loop") (param i32) (result i32)
    (try (result i32)
      (do
        (block $block (result i32)
          (loop $loop (result i32)
            (try (result i32)
              (do
                (try (result i32)
                  (do (call $throw (local.get 0)) (i32.const 1))
                  (delegate $loop)))
              (catch_all (i32.const -1))))))
      (catch $a)
      (catch_all (i32.const 8))))

  ;; To a `try` from within its own handler: that handler no longer counts.
  (func (export "from-a-handler") (param i32) (result i32)
    (try (result i32)
      (do
        (try $target (result i32)
          (do (throw $b))
          (catch $b
            (try (result i32)
              (do
                (try (result i32)
                  (do (call $throw (local.get 0)) (i32.const 1))
                  (delegate $target)))
              (catch_all (i32.const -1))))
          (catch_all (i32.const -2))))
      (catch_all (i32.const 9))))

  ;; Through several: each sends it to where the next one stands.
  (func (export "chain") (param i32) (result i32)
    (try $one (result i32)
      (do
        (try $two (result i32)
          (do
            (try $three (result i32)
              (do
                (try $four (result i32)
                  (do
                    (try $five (result i32)
                      (do
                        (try (result i32)
                          (do (call $throw (local.get 0)) (i32.const 1))
                          (delegate $four)))
                      (catch_all (i32.const -5))))
                  (delegate $two)))
              (catch_all (i32.const -3))))
          (catch $b (i32.const 32))))
      (catch $a)
      (catch_all (i32.const 31))))

  ;; To a delegating `try` that sends it further than the one in between would.
  (func (export "inside-a-delegation") (param i32) (result i32)
    (try $outer (result i32)
      (do
        (try $inner (result i32)
          (do
            (try $hop (result i32)
              (do
                (try (result i32)
                  (do (call $throw (local.get 0)) (i32.const 1))
                  (delegate $inner)))
              (delegate $outer)))
          (catch $a (drop) (i32.const 41))))
      (catch_all (i32.const 42))))

  ;; To a `try` without clauses, which hands it on.
  (func (export "to-a-bare-try") (param i32) (result i32)
    (try (result i32)
      (do
        (try $bare (result i32)
          (do
            (try (result i32)
              (do
                (try (result i32)
                  (do (call $throw (local.get 0)) (i32.const 1))
                  (delegate $bare)))
              (catch_all (i32.const -1))))))
      (catch_all (i32.const 51))))

  ;; With values on the stack below, and taken by the block.
  (func (export "with-parameters") (param i32) (result i32)
    (i32.const 1000)
    (try $target (result i32)
      (do
        (i32.const 100) (i64.const 10)
        (try $middle (param i32 i64) (result i32)
          (do
            (try (param i32 i64) (result i32)
              (do (i32.wrap_i64) (i32.add) (call $throw (local.get 0)))
              (delegate $target)))
          (catch_all (i32.const -1))))
      (catch $a)
      (catch_all (i32.const 0)))
    (i32.add))

  ;; The exception that arrives is the one that was thrown: it can be rethrown.
  (func (export "rethrown-by-the-target") (param i32) (result i32)
    (try (result i32)
      (do
        (try $target (result i32)
          (do
            (try (result i32)
              (do
                (try (result i32)
                  (do (call $throw (local.get 0)) (i32.const 1))
                  (delegate $target)))
              (catch_all (i32.const -1))))
          (catch $a (drop) (rethrow 0))
          (catch_all (rethrow 0))))
      (catch $a)
      (catch $b (i32.const 62))
      (catch $d (i32.wrap_i64))))

  ;; The target lies inside the handler that is being rethrown from.
  (func (export "rethrow-delegated") (result i32)
    (try (result i32)
      (do (throw $a (i32.const 71)))
      (catch $a (drop)
        (try $target (result i32)
          (do
            (try (result i32)
              (do (try (do (rethrow 3)) (delegate $target)) (i32.const -1))
              (catch_all (i32.const -2))))
          (catch $a)))))
)

(assert_return (invoke "past-one" (i32.const 0)) (i32.const 11))
(assert_return (invoke "past-one" (i32.const 1)) (i32.const 2))
(assert_return (invoke "past-one" (i32.const 3)) (i32.const 1))
(assert_return (invoke "past-and-on" (i32.const 0)) (i32.const 11))
(assert_return (invoke "past-and-on" (i32.const 1)) (i32.const 3))
(assert_return (invoke "past-and-on" (i32.const 2)) (i32.const 13))
(assert_return (invoke "past-and-on" (i32.const 3)) (i32.const 1))
(assert_return (invoke "leaves" (i32.const 0)) (i32.const 11))
(assert_exception (invoke "leaves" (i32.const 1)))
(assert_exception (invoke "leaves" (i32.const 2)))
(assert_return (invoke "leaves" (i32.const 3)) (i32.const 1))
(assert_return (invoke "caller-of-leaves" (i32.const 1)) (i32.const 4))
(assert_return (invoke "caller-of-leaves" (i32.const 2)) (i32.const 13))
(assert_return (invoke "to-caller" (i32.const 0)) (i32.const 11) (i64.const 21))
(assert_return (invoke "to-caller" (i32.const 1)) (i32.const 22) (i64.const 23))
(assert_trap (invoke "to-caller" (i32.const 2)) "unreachable")
(assert_return (invoke "to-caller" (i32.const 3)) (i32.const 1) (i64.const 2))
(assert_return (invoke "no-throw-with-branches" (i32.const 0)) (i32.const 6))
(assert_return (invoke "no-throw-with-branches" (i32.const 1)) (i32.const 5))
(assert_return (invoke "to-block-and-loop" (i32.const 0)) (i32.const 11))
(assert_return (invoke "to-block-and-loop" (i32.const 2)) (i32.const 8))
(assert_return (invoke "to-block-and-loop" (i32.const 3)) (i32.const 1))
(assert_return (invoke "from-a-handler" (i32.const 0)) (i32.const 9))
(assert_return (invoke "from-a-handler" (i32.const 3)) (i32.const 1))
(assert_return (invoke "chain" (i32.const 0)) (i32.const 11))
(assert_return (invoke "chain" (i32.const 1)) (i32.const 32))
(assert_return (invoke "chain" (i32.const 2)) (i32.const 31))
(assert_return (invoke "chain" (i32.const 3)) (i32.const 1))
(assert_return (invoke "inside-a-delegation" (i32.const 0)) (i32.const 41))
(assert_return (invoke "inside-a-delegation" (i32.const 1)) (i32.const 42))
(assert_return (invoke "to-a-bare-try" (i32.const 0)) (i32.const 51))
(assert_return (invoke "to-a-bare-try" (i32.const 3)) (i32.const 1))
(assert_return (invoke "with-parameters" (i32.const 0)) (i32.const 1011))
(assert_return (invoke "with-parameters" (i32.const 1)) (i32.const 1000))
(assert_return (invoke "with-parameters" (i32.const 3)) (i32.const 1110))
(assert_return (invoke "rethrown-by-the-target" (i32.const 0)) (i32.const 11))
(assert_return (invoke "rethrown-by-the-target" (i32.const 1)) (i32.const 62))
(assert_return (invoke "rethrown-by-the-target" (i32.const 2)) (i32.const 13))
(assert_return (invoke "rethrow-delegated") (i32.const 71))

(assert_malformed (module quote "(module (func (block (delegate 0))))") "unexpected")
(assert_malformed (module quote "(module (func (try (do) (catch_all) (delegate 0))))") "unexpected")
(assert_invalid (module (func (try (do) (delegate 1)))) "unknown label")
(assert_invalid (module (func (result i32) (try (result i32) (do (i64.const 1)) (delegate 0))))
  "type mismatch")
