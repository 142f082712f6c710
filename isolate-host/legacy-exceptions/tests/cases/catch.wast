;; Catching: which clause, with which values, and what is left on the stack.

(module
  (tag $none)
  (tag $one (param i32))
  (tag $three (param i32 i64 f64))
  (tag $never (param i32))

  (func $throw (param $which i32)
    (block (block (block (block (br_table 0 1 2 3 (local.get $which)))
      (throw $none))
      (throw $one (i32.const 11)))
      (throw $three (i32.const 3) (i64.const 40) (f64.const 500))))

  (func (export "which-clause") (param i32) (result i32)
    (try (result i32)
      (do (call $throw (local.get 0)) (i32.const -1))
      (catch $never)
      (catch $none (i32.const 1))
      (catch $one (i32.add (i32.const 100)))
      (catch_all (i32.const 7))))

  ;; The values of a tag come out in order, one below the other.
  (func (export "several-values") (result i32 i64 f64)
    (try (result i32 i64 f64)
      (do (call $throw (i32.const 2)) (unreachable))
      (catch $three)))

  ;; What stood on the stack before the `try` is still there in a handler.
  (func (export "below") (param i32) (result i32)
    (i32.const 1000)
    (try (result i32)
      (do (i32.const 1) (i32.const 2) (call $throw (local.get 0)) (i32.add))
      (catch $one)
      (catch_all (i32.const 9)))
    (i32.add))

  ;; A `try` may take values from the stack.
  (func (export "parameters") (param i32) (result i32)
    (i32.const 5) (i64.const 6)
    (try (param i32 i64) (result i32)
      (do (i32.wrap_i64) (i32.add) (call $throw (local.get 0)))
      (catch $one (drop) (i32.const 20))
      (catch $three (drop) (drop))
      (catch_all (i32.const 30))))

  ;; … and leave several.
  (func (export "two-results") (param i32) (result i32 i64)
    (try (result i32 i64)
      (do (call $throw (local.get 0)) (i32.const 1) (i64.const 2))
      (catch $none (i32.const 3) (i64.const 4))
      (catch $three (drop))
      (catch_all (i32.const 5) (i64.const 6))))

  (func (export "catches-only-its-own") (param i32) (result i32)
    (try (result i32)
      (do
        (try (result i32)
          (do (call $throw (local.get 0)) (i32.const 0))
          (catch $one)))
      (catch_all (i32.const 2))))

  ;; A handler is not part of the body it belongs to.
  (func (export "throw-in-handler") (result i32)
    (try (result i32)
      (do
        (try (result i32)
          (do (throw $none))
          (catch $none (throw $one (i32.const 77)))
          (catch $one (drop) (i32.const 1))
          (catch_all (i32.const 2))))
      (catch $one)))

  (func (export "without-clauses") (param i32) (result i32)
    (try (result i32)
      (do (try (result i32) (do (call $throw (local.get 0)) (i32.const 6))))
      (catch_all (i32.const 7))))

  (func (export "uncaught") (param i32)
    (try (do (call $throw (local.get 0))) (catch $never (drop))))

  ;; Locals keep what the body stored before it threw.
  (func (export "locals") (result i32)
    (local i32)
    (try
      (do (local.set 0 (i32.const 1)) (call $throw (i32.const 0)) (local.set 0 (i32.const 2)))
      (catch_all))
    (local.get 0))

  (func (export "loop-of-tries") (param i32) (result i32)
    (local $caught i32)
    (loop $again
      (try
        (do
          (call $throw (i32.rem_u (local.get 0) (i32.const 4)))
          (local.set $caught (i32.add (local.get $caught) (i32.const 1000))))
        (catch $one (drop) (local.set $caught (i32.add (local.get $caught) (i32.const 100))))
        (catch_all (local.set $caught (i32.add (local.get $caught) (i32.const 1)))))
      (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
      (br_if $again (i32.ge_s (local.get 0) (i32.const 0))))
    (local.get $caught))
)

(assert_return (invoke "which-clause" (i32.const 0)) (i32.const 1))
(assert_return (invoke "which-clause" (i32.const 1)) (i32.const 111))
(assert_return (invoke "which-clause" (i32.const 2)) (i32.const 7))
(assert_return (invoke "which-clause" (i32.const 3)) (i32.const -1))
(assert_return (invoke "several-values") (i32.const 3) (i64.const 40) (f64.const 500))
(assert_return (invoke "below" (i32.const 0)) (i32.const 1009))
(assert_return (invoke "below" (i32.const 1)) (i32.const 1011))
(assert_return (invoke "below" (i32.const 3)) (i32.const 1003))
(assert_return (invoke "parameters" (i32.const 0)) (i32.const 30))
(assert_return (invoke "parameters" (i32.const 1)) (i32.const 20))
(assert_return (invoke "parameters" (i32.const 2)) (i32.const 3))
(assert_return (invoke "parameters" (i32.const 3)) (i32.const 11))
(assert_return (invoke "two-results" (i32.const 0)) (i32.const 3) (i64.const 4))
(assert_return (invoke "two-results" (i32.const 1)) (i32.const 5) (i64.const 6))
(assert_return (invoke "two-results" (i32.const 2)) (i32.const 3) (i64.const 40))
(assert_return (invoke "two-results" (i32.const 3)) (i32.const 1) (i64.const 2))
(assert_return (invoke "catches-only-its-own" (i32.const 0)) (i32.const 2))
(assert_return (invoke "catches-only-its-own" (i32.const 1)) (i32.const 11))
(assert_return (invoke "catches-only-its-own" (i32.const 3)) (i32.const 0))
(assert_return (invoke "throw-in-handler") (i32.const 77))
(assert_return (invoke "without-clauses" (i32.const 1)) (i32.const 7))
(assert_return (invoke "without-clauses" (i32.const 3)) (i32.const 6))
(assert_exception (invoke "uncaught" (i32.const 0)))
(assert_exception (invoke "uncaught" (i32.const 1)))
(assert_return (invoke "uncaught" (i32.const 3)))
(assert_return (invoke "locals") (i32.const 1))
(assert_return (invoke "loop-of-tries" (i32.const 7)) (i32.const 2204))

;; A trap is no exception.
(module
  (func (export "trap") (result i32)
    (try (result i32) (do (i32.div_s (i32.const 1) (i32.const 0))) (catch_all (i32.const 1))))
)
(assert_trap (invoke "trap") "integer divide by zero")

;; A tag is the same through an import, and another one if only alike.
(module (tag (export "t") (param i32)) (func (export "throw") (throw 0 (i32.const 5))))
(register "thrower")
(module
  (import "thrower" "t" (tag $t (param i32)))
  (import "thrower" "throw" (func $throw))
  (tag $alike (param i32))
  (func (export "imported") (result i32)
    (try (result i32)
      (do (call $throw) (i32.const 0))
      (catch $alike (drop) (i32.const 1))
      (catch $t))))
(assert_return (invoke "imported") (i32.const 5))

(assert_malformed (module quote "(module (tag) (func (try (do) (catch_all) (catch 0))))") "unexpected")
(assert_invalid (module (func (try (do) (catch 0)))) "unknown tag")
(assert_invalid (module (tag (param i32)) (func (try (do) (catch 0)))) "type mismatch")
(assert_invalid (module (tag) (func (result i32) (try (result i32) (do (i32.const 1)) (catch 0))))
  "type mismatch")
