;; The Python module `jumps`: a longjmp out of nested C functions.
;;
;; No wheel for this platform calls setjmp, so this is what LLVM makes of the following
;; C, with Emscripten's `-sSUPPORT_LONGJMP=wasm`, written by hand. `with_cleanup` is what
;; it makes of a C++ function with a destructor to run.
;;
;;     static jmp_buf buffers[16];
;;
;;     static int descend(int depth, int target) {
;;         int arrived = setjmp(buffers[depth]);
;;         if (arrived) return arrived * 10 + depth;
;;         if (depth == 0) longjmp(buffers[target], target + 1);
;;         return with_cleanup(depth - 1, target) + 1000;
;;     }
;;
;; `jumps.jump(depth, target)` gives `descend(depth, target)`, and 10000 more for each
;; cleanup; where there is no such target it raises OverflowError, from the handler of
;; another jump.
(module
  (@dylink.0 (mem-info (memory 512 4) (table 1 0)))
  (import "env" "memory" (memory 1))
  (import "env" "__indirect_function_table" (table 1 funcref))
  (import "env" "__memory_base" (global $data i32))
  (import "env" "__table_base" (global $functions i32))
  (import "env" "__stack_pointer" (global $stack (mut i32)))
  (import "GOT.mem" "PyExc_OverflowError" (global $overflow_error (mut i32)))
  (import "env" "__c_longjmp" (tag $longjmp (param i32)))
  (import "env" "__wasm_setjmp" (func $setjmp (param i32 i32 i32)))
  (import "env" "__wasm_setjmp_test" (func $setjmp_test (param i32 i32) (result i32)))
  (import "env" "__wasm_longjmp" (func $longjmp (param i32 i32)))
  (import "env" "PyErr_SetString" (func $set_error (param i32 i32)))
  (import "env" "PyLong_AsLong" (func $as_long (param i32) (result i32)))
  (import "env" "PyLong_FromLong" (func $from_long (param i32) (result i32)))
  (import "env" "PyModule_Create2" (func $create_module (param i32 i32) (result i32)))

  ;; 0 `jumps`, 8 `jump`, 16 the error's text, 40 how many cleanups ran,
  ;; 64 two PyMethodDef, 112 the PyModuleDef, 256 sixteen buffers of 16 bytes
  (data (global.get $data) "jumps\00\00\00jump\00\00\00\00no such target\00")
  (elem (table 0) (offset global.get $functions) func $jump)

  (func $buffer (param $depth i32) (result i32)
    (i32.add (i32.add (global.get $data) (i32.const 256)) (i32.mul (local.get $depth) (i32.const 16))))

  (func $descend (param $depth i32) (param $target i32) (result i32)
    (local $invocation i32) (local $arrived i32) (local $thrown i32) (local $environment i32)
    ;; Its place on the stack tells this invocation from others.
    (global.set $stack (local.tee $invocation (i32.sub (global.get $stack) (i32.const 16))))
    (call $setjmp (call $buffer (local.get $depth)) (i32.const 1) (local.get $invocation))
    loop $again
      (if (local.get $arrived) (then
        (global.set $stack (i32.add (local.get $invocation) (i32.const 16)))
        (return (i32.add (i32.mul (local.get $arrived) (i32.const 10)) (local.get $depth)))))
      try
        (if (i32.eqz (local.get $depth)) (then
          (call $longjmp (call $buffer (local.get $target)) (i32.add (local.get $target) (i32.const 1)))
          unreachable))
        (call $with_cleanup (i32.sub (local.get $depth) (i32.const 1)) (local.get $target))
        i32.const 1000
        i32.add
        (global.set $stack (i32.add (local.get $invocation) (i32.const 16)))
        return
      catch $longjmp
        local.set $thrown
        (global.set $stack (local.get $invocation))
        (local.set $environment (i32.load (local.get $thrown)))
        (if (call $setjmp_test (local.get $environment) (local.get $invocation)) (then
          (local.set $arrived (i32.load offset=4 (local.get $thrown)))
          br $again))
        ;; Another invocation's: on it goes.
        (call $longjmp (local.get $environment) (i32.load offset=4 (local.get $thrown)))
        unreachable
      end
    end
    unreachable)

  (func $with_cleanup (param $depth i32) (param $target i32) (result i32)
    try (result i32)
      (call $descend (local.get $depth) (local.get $target))
    catch_all
      (i32.store offset=40 (global.get $data)
        (i32.add (i32.load offset=40 (global.get $data)) (i32.const 1)))
      rethrow 0
    end)

  (func $jump (param $self i32) (param $arguments i32) (param $count i32) (result i32)
    (local $depth i32) (local $target i32) (local $reached i32)
    (local.set $depth (call $as_long (i32.load (local.get $arguments))))
    (local.set $target (call $as_long (i32.load offset=4 (local.get $arguments))))
    (i32.store offset=40 (global.get $data) (i32.const 0))
    (if (i32.or (i32.gt_u (local.get $depth) (i32.const 15))
                (i32.gt_u (local.get $target) (local.get $depth))) (then
      (drop (call $descend (i32.const 2) (i32.const 1)))
      (call $set_error (i32.load (global.get $overflow_error))
        (i32.add (global.get $data) (i32.const 16)))
      (return (i32.const 0))))
    (local.set $reached (call $descend (local.get $depth) (local.get $target)))
    (call $from_long (i32.add (local.get $reached)
      (i32.mul (i32.load offset=40 (global.get $data)) (i32.const 10000)))))

  (func (export "PyInit_jumps") (result i32)
    ;; PyMethodDef: name, function, METH_FASTCALL, no documentation
    (i32.store offset=64 (global.get $data) (i32.add (global.get $data) (i32.const 8)))
    (i32.store offset=68 (global.get $data) (global.get $functions))
    (i32.store offset=72 (global.get $data) (i32.const 0x80))
    ;; PyModuleDef: an immortal head, name, no documentation, no state, methods
    (i32.store offset=112 (global.get $data) (i32.const 0x70000000))
    (i32.store offset=132 (global.get $data) (global.get $data))
    (i32.store offset=140 (global.get $data) (i32.const -1))
    (i32.store offset=144 (global.get $data) (i32.add (global.get $data) (i32.const 64)))
    (call $create_module (i32.add (global.get $data) (i32.const 112)) (i32.const 1013))))
