;; Labels shift, since each `try` becomes several blocks: branches of every kind
;; across `try`s, from bodies and from handlers, and code behind branches.

(module
  (type $unit (func))
  (type $to-int (func (result i32)))
  (tag $a (param i32))
  (tag $b)
  (func $f (result i32) (i32.const 91))
  (elem declare func $f)

  (func (export "br-to-the-try") (param i32) (result i32)
    (try $t (result i32)
      (do (br_if $t (i32.const 1) (local.get 0)) (drop) (throw $b))
      (catch $a (drop) (br $t (i32.const 2)))
      (catch $b (block (br $t (i32.const 3))) (i32.const 4))
      (catch_all (br $t (i32.const 5)))))

  ;; br_table over a mixture of blocks, loops, ifs and `try`s.
  (func (export "table") (param i32) (result i32)
    (local $turns i32)
    (block $zero
      (try $one
        (do
          (block $two
            (try $three
              (do (throw $a (local.get 0)))
              (catch $b (unreachable))
              (catch $a
                (try $four
                  (do (if $five (i32.const 1)
                    (then (br_table $zero $one $two $three $four $five (local.get 0)) (unreachable))))
                  (catch_all (unreachable)))
                (return (i32.const 45))))
            (return (i32.const 3)))
          (return (i32.const 2)))
        (catch_all (return (i32.const -1))))
      (return (i32.const 1)))
    (i32.const 0))

  (func (export "loop-from-a-handler") (param i32) (result i32)
    (local $n i32)
    (loop $again (result i32)
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (try (result i32)
        (do (throw $b))
        (catch $a)
        (catch_all
          (br_if $again (i32.lt_s (local.get $n) (local.get 0)))
          (local.get $n)))))

  (func (export "loop-parameters-from-a-handler") (param i32) (result i32)
    (local.get 0)
    (loop $again (param i32) (result i32)
      (try (param i32) (result i32)
        (do (throw $a))
        (catch $a
          (local.tee 0 (i32.add (i32.const 7)))
          (if (param i32) (result i32) (i32.lt_s (local.get 0) (i32.const 30))
            (then (br $again)))))))

  (func (export "return-from-everywhere") (param i32) (result i32)
    (local $value i32)
    (try (do
      (try
        (do (if (i32.eqz (local.get 0)) (then (return (i32.const 1)))) (throw $a (i32.const 2)))
        (catch $a
          (local.set $value)
          (if (i32.eq (local.get 0) (i32.const 1)) (then (return (local.get $value))))
          (throw $b))))
      (catch_all (return (i32.const 3))))
    (i32.const 4))

  ;; The function's own label is a target too.
  (func (export "function-label") (param i32) (result i32)
    (try
      (do (br_if 1 (i32.const 1) (local.get 0)) (drop)
          (try (do (throw $b)) (delegate 1)))
      (catch_all (br 1 (i32.const 2))))
    (i32.const 3))

  (func (export "br-on-null") (param i32) (result i32)
    (local $r (ref null $to-int))
    (if (local.get 0) (then (local.set $r (ref.func $f))))
    (block $null
      (try $try (result (ref $to-int))
        (do (throw $b))
        (catch $a (drop) (unreachable))
        (catch_all
          (br_on_non_null $try (local.get $r))
          (br_on_null $null (local.get $r))))
      (return (call_ref $to-int)))
    (i32.const 92))

  (func (export "br-on-cast") (result i32)
    (block $other (result funcref)
      (try $try (result (ref $to-int))
        (do (throw $b))
        (catch $b
          (block $fail (result funcref)
            (br_on_cast_fail $fail funcref (ref $unit) (ref.func $f))
            (drop) (unreachable))
          (br_on_cast $try funcref (ref $to-int))
          (br $other))
        (catch_all (unreachable)))
      (return (call_ref $to-int)))
    (drop) (i32.const -1))

  ;; Code that is never reached is translated like any other.
  (func (export "unreachable-tries") (result i32)
    (return (i32.const 95))
    (try (result i32)
      (do (br 0 (i32.const 1)) (try (do (unreachable)) (catch $a (drop)) (catch_all (rethrow 0))) (i32.add))
      (catch $a (unreachable) (i32.add) (br_if 0) (drop) (throw $a))
      (catch_all (rethrow 0) (drop) (drop)))
    (unreachable)
    (try (param i32 i32) (result i64) (do (drop) (drop) (unreachable)) (delegate 0))
    (drop))

  (func (export "handlers-that-do-not-end") (param i32) (result i32)
    (try (result i32)
      (do
        (try (result i32)
          (do (if (local.get 0) (then (throw $a (i32.const 96)))) (throw $b))
          (catch $a (return))
          (catch $b (throw $a (i32.const 97)))
          (catch_all (unreachable))))
      (catch $a)))
)

(assert_return (invoke "br-to-the-try" (i32.const 1)) (i32.const 1))
(assert_return (invoke "br-to-the-try" (i32.const 0)) (i32.const 3))
(assert_return (invoke "table" (i32.const 0)) (i32.const 0))
(assert_return (invoke "table" (i32.const 1)) (i32.const 1))
(assert_return (invoke "table" (i32.const 2)) (i32.const 2))
(assert_return (invoke "table" (i32.const 3)) (i32.const 3))
(assert_return (invoke "table" (i32.const 4)) (i32.const 45))
(assert_return (invoke "table" (i32.const 5)) (i32.const 45))
(assert_return (invoke "loop-from-a-handler" (i32.const 6)) (i32.const 6))
(assert_return (invoke "loop-parameters-from-a-handler" (i32.const 4)) (i32.const 32))
(assert_return (invoke "return-from-everywhere" (i32.const 0)) (i32.const 1))
(assert_return (invoke "return-from-everywhere" (i32.const 1)) (i32.const 2))
(assert_return (invoke "return-from-everywhere" (i32.const 2)) (i32.const 3))
(assert_return (invoke "function-label" (i32.const 1)) (i32.const 1))
(assert_exception (invoke "function-label" (i32.const 0)))
(assert_return (invoke "br-on-null" (i32.const 0)) (i32.const 92))
(assert_return (invoke "br-on-null" (i32.const 1)) (i32.const 91))
(assert_return (invoke "br-on-cast") (i32.const 91))
(assert_return (invoke "unreachable-tries") (i32.const 95))
(assert_return (invoke "handlers-that-do-not-end" (i32.const 0)) (i32.const 97))
(assert_return (invoke "handlers-that-do-not-end" (i32.const 1)) (i32.const 96))

(assert_invalid (module (tag) (func (try (do (br 2)) (catch 0)))) "unknown label")
