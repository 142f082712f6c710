;; Modules, and functions, in which both generations of instructions occur.

(module
  (tag $a (param i32))
  (tag $b)

  (func $throw (param i32)
    (block (block (block (br_table 0 1 2 (local.get 0)))
      (throw $a (i32.const 11)))
      (throw $b)))

  (func (export "new-in-old") (param i32) (result i32)
    (try (result i32)
      (do
        (block $caught (result i32)
          (try_table (result i32) (catch $a $caught)
            (call $throw (local.get 0)) (i32.const 1))))
      (catch $b (i32.const 2))))

  (func (export "old-in-new") (param i32) (result i32)
    (block $caught
      (try_table (catch $b $caught)
        (try
          (do (call $throw (local.get 0)))
          (catch $a (return)))
        (return (i32.const 1))))
    (i32.const 2))

  ;; The clauses of a `try_table` inside a handler name labels outside the `try`.
  (func (export "past-a-try") (param i32) (result i32)
    (block $all
      (block $caught (result i32)
        (try (result i32)
          (do (throw $b))
          (catch $a (drop) (unreachable))
          (catch_all
            (try_table (result i32) (catch $a $caught) (catch_all $all)
              (call $throw (local.get 0)) (i32.const 1))))
        (i32.add (i32.const 100)))
      (return))
    (i32.const 2))

  ;; A `try` delegates to a `try_table`, past an old and a new handler.
  (func (export "delegate-to-new") (param i32) (result i32)
    (block $any
      (block $caught (result i32)
        (try_table $target (result i32) (catch $a $caught) (catch_all $any)
          (block $wrong
            (try_table (catch_all $wrong)
              (try (do
                (try (do (call $throw (local.get 0))) (delegate $target)))
                (catch_all (br $wrong)))
              (return (i32.const 1))))
          (i32.const -1)))
      (return))
    (i32.const 2))

  ;; … whose references to the exception are kept.
  (func (export "delegate-to-new-with-reference") (param i32) (result i32)
    (try (result i32)
      (do
        (block $any (result exnref)
          (block $caught (result i32 exnref)
            (try_table $target (catch_ref $a $caught) (catch_all_ref $any)
              (try (do
                (try (do (call $throw (local.get 0))) (delegate $target)))
                (catch_all (unreachable))))
            (return (i32.const 1)))
          (throw_ref))
        (throw_ref))
      (catch $a (i32.add (i32.const 5)))
      (catch_all (i32.const 2))))

  (func (export "no-clauses") (param i32) (result i32)
    (try (result i32)
      (do
        (try_table $target (result i32)
          (try (result i32) (do
            (try (result i32) (do (call $throw (local.get 0)) (i32.const 1)) (delegate $target)))
            (catch_all (i32.const -1)))))
      (catch $a)
      (catch_all (i32.const 2))))
)

(assert_return (invoke "new-in-old" (i32.const 0)) (i32.const 11))
(assert_return (invoke "new-in-old" (i32.const 1)) (i32.const 2))
(assert_return (invoke "new-in-old" (i32.const 2)) (i32.const 1))
(assert_return (invoke "old-in-new" (i32.const 0)) (i32.const 11))
(assert_return (invoke "old-in-new" (i32.const 1)) (i32.const 2))
(assert_return (invoke "old-in-new" (i32.const 2)) (i32.const 1))
(assert_return (invoke "past-a-try" (i32.const 0)) (i32.const 11))
(assert_return (invoke "past-a-try" (i32.const 1)) (i32.const 2))
(assert_return (invoke "past-a-try" (i32.const 2)) (i32.const 101))
(assert_return (invoke "delegate-to-new" (i32.const 0)) (i32.const 11))
(assert_return (invoke "delegate-to-new" (i32.const 1)) (i32.const 2))
(assert_return (invoke "delegate-to-new" (i32.const 2)) (i32.const 1))
(assert_return (invoke "delegate-to-new-with-reference" (i32.const 0)) (i32.const 16))
(assert_return (invoke "delegate-to-new-with-reference" (i32.const 1)) (i32.const 2))
(assert_return (invoke "delegate-to-new-with-reference" (i32.const 2)) (i32.const 1))
(assert_return (invoke "no-clauses" (i32.const 0)) (i32.const 11))
(assert_return (invoke "no-clauses" (i32.const 1)) (i32.const 2))
(assert_return (invoke "no-clauses" (i32.const 2)) (i32.const 1))

;; Nothing to do: one with the new instructions only, one with none.
(module
  (tag $a (param i32))
  (func (export "new") (result i32)
    (block $caught (result i32)
      (try_table (catch $a $caught) (throw $a (i32.const 6)))
      (unreachable))))
(assert_return (invoke "new") (i32.const 6))
(module (func (export "none") (result i32) (i32.const 7)))
(assert_return (invoke "none") (i32.const 7))
