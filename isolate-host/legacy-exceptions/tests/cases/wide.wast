;; More clauses than a delegation branches to itself: what they leave goes over
;; rethrow points.

(module
  (tag $a (param i32)) (tag $b) (tag $c) (tag $d) (tag $e) (tag $f) (tag $g)
  (tag $h) (tag $i) (tag $j) (tag $k (param i64))

  (func $throw (param i32)
    (block (block (block (block (br_table 0 1 2 3 (local.get 0)))
      (throw $a (i32.const 11)))
      (throw $j))
      (throw $k (i64.const 13))))

  (func $wide (export "wide") (param i32) (result i32)
    (try $target (result i32)
      (do
        (try (result i32)
          (do
            (try (result i32)
              (do (call $throw (local.get 0)) (i32.const 1))
              (delegate $target)))
          (catch_all (i32.const -1))))
      (catch $b (i32.const 2)) (catch $c (i32.const 3)) (catch $d (i32.const 4))
      (catch $e (i32.const 5)) (catch $f (i32.const 6)) (catch $g (i32.const 7))
      (catch $h (i32.const 8)) (catch $i (i32.const 9)) (catch $j (i32.const 10))
      (catch $a)))

  (func (export "caller-of-wide") (param i32) (result i32)
    (try (result i32) (do (call $wide (local.get 0))) (catch $k (i32.wrap_i64))))

  ;; Clauses of several constructs, the last of which is reached by rethrowing.
  (func (export "in-steps") (param i32) (result i32)
    (i32.const 5000)
    (try (param i32) (result i32)
      (do
        (drop)
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
              (catch $b (i32.const 2)) (catch $c (i32.const 3)) (catch $d (i32.const 4))))
          (catch $e (i32.const 5)) (catch $f (i32.const 6)) (catch $g (i32.const 7))
          (catch $h (i32.const 8)) (catch $i (i32.const 9)) (catch $j (i32.const 10))))
      (catch $k (i32.wrap_i64))
      (catch $b (i32.const 20)) (catch $c (i32.const 21)) (catch $d (i32.const 22))
      (catch $e (i32.const 23)) (catch $f (i32.const 24)) (catch $g (i32.const 25))
      (catch_all (i32.const 12))))

  ;; To a standard construct, from whose body control also leaves normally.
  (func (export "standard") (param i32) (result i32)
    (block $a (result i32)
      (block $k (result i64)
        (block $bj
          (i32.const 6000)
          (try_table $target (param i32) (result i32)
              (catch $b $bj) (catch $c $bj) (catch $d $bj) (catch $e $bj) (catch $f $bj)
              (catch $g $bj) (catch $h $bj) (catch $i $bj) (catch $j $bj) (catch $a $a)
              (catch $k $k)
            (br_if $target (i32.eq (local.get 0) (i32.const 4)))
            (drop)
            (try (result i32)
              (do
                (try (result i32)
                  (do (call $throw (local.get 0)) (i32.const 1))
                  (delegate $target)))
              (catch_all (i32.const -1))))
          (return))
        (return (i32.const 10)))
      (return (i32.wrap_i64))))
)

(assert_return (invoke "wide" (i32.const 0)) (i32.const 11))
(assert_return (invoke "wide" (i32.const 1)) (i32.const 10))
(assert_exception (invoke "wide" (i32.const 2)))
(assert_return (invoke "wide" (i32.const 3)) (i32.const 1))
(assert_return (invoke "caller-of-wide" (i32.const 2)) (i32.const 13))
(assert_return (invoke "in-steps" (i32.const 0)) (i32.const 12))
(assert_return (invoke "in-steps" (i32.const 1)) (i32.const 10))
(assert_return (invoke "in-steps" (i32.const 2)) (i32.const 13))
(assert_return (invoke "in-steps" (i32.const 3)) (i32.const 1))
(assert_return (invoke "standard" (i32.const 0)) (i32.const 11))
(assert_return (invoke "standard" (i32.const 1)) (i32.const 10))
(assert_return (invoke "standard" (i32.const 2)) (i32.const 13))
(assert_return (invoke "standard" (i32.const 3)) (i32.const 1))
(assert_return (invoke "standard" (i32.const 4)) (i32.const 6000))
