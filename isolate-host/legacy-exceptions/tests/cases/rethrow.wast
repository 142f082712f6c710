;; Rethrowing: which of the exceptions being handled, and who handles it next.

(module
  (tag $a (param i32))
  (tag $b (param i64 i32))
  (tag $c)

  (func (export "same-values") (result i64 i32)
    (try (result i64 i32)
      (do (try (do (throw $b (i64.const 8) (i32.const 9))) (catch $b (drop) (drop) (rethrow 0)))
          (unreachable))
      (catch $b)))

  ;; The outer of two exceptions, from inside the handler of the inner one.
  (func (export "outer-of-two") (param i32) (result i32)
    (try (result i32)
      (do
        (try
          (do (throw $a (i32.const 1)))
          (catch $a (drop)
            (try
              (do (throw $a (i32.const 2)))
              (catch $a (drop)
                (if (local.get 0) (then (rethrow 1)) (else (rethrow 2)))))))
        (unreachable))
      (catch $a)))

  ;; Handlers side by side do not mix up their exceptions.
  (func (export "side-by-side") (param i32) (result i32)
    (try (result i32)
      (do
        (try
          (do
            (if (local.get 0) (then (throw $a (i32.const 10))))
            (throw $c))
          (catch $a
            (drop)
            (try (do (throw $a (i32.const 20))) (catch $a (drop)))
            (rethrow 0))
          (catch_all
            (try (do (throw $a (i32.const 30))) (catch $a (drop)))
            (rethrow 0)))
        (unreachable))
      (catch $a)
      (catch $c (i32.const 40))))

  ;; In the body of a `try` inside a handler: that `try` handles it.
  (func (export "into-a-body") (result i32)
    (try (result i32)
      (do (throw $a (i32.const 3)))
      (catch $a (drop)
        (try (result i32)
          (do (rethrow 1))
          (catch $c (i32.const 4))
          (catch $a (i32.add (i32.const 50)))))))

  ;; Over and over, with a new exception each time.
  (func (export "in-a-loop") (param i32) (result i32)
    (local $sum i32)
    (loop $again
      (try
        (do
          (try
            (do (throw $a (local.get 0)))
            (catch $a (drop) (rethrow 0))))
        (catch $a (local.set $sum (i32.add (local.get $sum)))))
      (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (local.get $sum))

  ;; Deeper than the reuse of a local by brothers, shallower than one each.
  (func (export "three-deep") (param i32) (result i32)
    (try (result i32)
      (do
        (try
          (do (throw $a (i32.const 100)))
          (catch_all
            (try
              (do (throw $a (i32.const 200)))
              (catch_all
                (try
                  (do (throw $a (i32.const 300)))
                  (catch_all
                    (block (block (block (br_table 0 1 2 (local.get 0)))
                      (rethrow 2))
                      (rethrow 2))
                      (rethrow 2)))))))
        (unreachable))
      (catch $a)))

  (func (export "out-of-the-function") (try (do (throw $c)) (catch_all (rethrow 0))))

  (func (export "code-behind") (result i32)
    (try (result i32)
      (do (try (result i32) (do (throw $c)) (catch $c (rethrow 0) (i64.const 1) (drop) (i32.add))))
      (catch $c (i32.const 1))))
)

(assert_return (invoke "same-values") (i64.const 8) (i32.const 9))
(assert_return (invoke "outer-of-two" (i32.const 1)) (i32.const 2))
(assert_return (invoke "outer-of-two" (i32.const 0)) (i32.const 1))
(assert_return (invoke "side-by-side" (i32.const 1)) (i32.const 10))
(assert_return (invoke "side-by-side" (i32.const 0)) (i32.const 40))
(assert_return (invoke "into-a-body") (i32.const 53))
(assert_return (invoke "in-a-loop" (i32.const 10)) (i32.const 55))
(assert_return (invoke "three-deep" (i32.const 0)) (i32.const 300))
(assert_return (invoke "three-deep" (i32.const 1)) (i32.const 200))
(assert_return (invoke "three-deep" (i32.const 2)) (i32.const 100))
(assert_exception (invoke "out-of-the-function"))
(assert_return (invoke "code-behind") (i32.const 1))

(assert_invalid (module (func (loop (rethrow 0)))) "invalid rethrow label")
(assert_invalid (module (func (try (do (rethrow 0)) (catch_all)))) "invalid rethrow label")
(assert_invalid (module (func (rethrow 4))) "unknown label")
