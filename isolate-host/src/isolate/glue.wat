;; The few lines of guest code that stand between CPython and the host.
;;
;; * `trampoline`: CPython calls C functions of any arity through it; `ref.test`
;;   finds out which arity the function in the table has.
;; * `call`: the builtin `_warmshard.call(op, id, data)`, as METH_FASTCALL. Python
;;   objects are made and read here, on the guest's side, so that the host's half
;;   is two plain functions that never call back into the guest.
;; * `pump`: calls a Python callable without arguments, from the host.
(module
  (import "env" "memory" (memory 0))
  (import "env" "__indirect_function_table" (table 0 funcref))
  (import "python" "PyLong_AsLong" (func $PyLong_AsLong (param i32) (result i32)))
  (import "python" "PyErr_Occurred" (func $PyErr_Occurred (result i32)))
  (import "python" "PyErr_SetString" (func $PyErr_SetString (param i32 i32)))
  (import "python" "PyErr_SetNone" (func $PyErr_SetNone (param i32)))
  (import "python" "PyErr_Print" (func $PyErr_Print))
  (import "python" "PyBytes_AsString" (func $PyBytes_AsString (param i32) (result i32)))
  (import "python" "PyBytes_Size" (func $PyBytes_Size (param i32) (result i32)))
  (import "python" "PyBytes_FromStringAndSize" (func $PyBytes_FromStringAndSize (param i32 i32) (result i32)))
  (import "python" "PyObject_CallNoArgs" (func $PyObject_CallNoArgs (param i32) (result i32)))
  (import "python" "Py_DecRef" (func $Py_DecRef (param i32)))
  (import "python" "malloc" (func $malloc (param i32) (result i32)))
  (import "python" "free" (func $free (param i32)))
  (import "python" "_Py_NoneStruct" (global $None i32))
  (import "python" "PyExc_RuntimeError" (global $PyExc_RuntimeError i32))
  (import "python" "PyExc_TypeError" (global $PyExc_TypeError i32))
  ;; dispatch(op, id, data, length): -1 = None; n >= 0 = n bytes to take; less = an error of (-2 - n) bytes to take
  (import "host" "dispatch" (func $dispatch (param i32 i32 i32 i32) (result i32)))
  (import "host" "take" (func $take (param i32 i32)))

  (type $arity3 (func (param i32 i32 i32) (result i32)))
  (type $arity2 (func (param i32 i32) (result i32)))
  (type $arity1 (func (param i32) (result i32)))
  (type $arity0 (func (result i32)))

  (func (export "trampoline") (param $success i32) (param $function i32) (param $self i32) (param $args i32) (param $kwargs i32) (result i32)
    (local $ref funcref)
    (local.set $ref (table.get 0 (local.get $function)))
    (if (ref.test (ref $arity3) (local.get $ref))
      (then (return (call_indirect (type $arity3) (local.get $self) (local.get $args) (local.get $kwargs) (local.get $function)))))
    (if (ref.test (ref $arity2) (local.get $ref))
      (then (return (call_indirect (type $arity2) (local.get $self) (local.get $args) (local.get $function)))))
    (if (ref.test (ref $arity1) (local.get $ref))
      (then (return (call_indirect (type $arity1) (local.get $self) (local.get $function)))))
    (if (ref.test (ref $arity0) (local.get $ref))
      (then (return (call_indirect (type $arity0) (local.get $function)))))
    (i32.store (local.get $success) (i32.const 0))
    (i32.const 0))

  (func $failed (result i32) (i32.ne (call $PyErr_Occurred) (i32.const 0)))

  (func (export "call") (param $self i32) (param $args i32) (param $count i32) (result i32)
    (local $op i32) (local $id i32) (local $data i32) (local $length i32) (local $result i32) (local $object i32)
    (if (i32.eqz (local.get $count))
      (then
        (call $PyErr_SetNone (i32.load (global.get $PyExc_TypeError)))
        (return (i32.const 0))))
    (local.set $op (call $PyLong_AsLong (i32.load (local.get $args))))
    (if (i32.eq (local.get $op) (i32.const -1)) (then (if (call $failed) (then (return (i32.const 0))))))
    (if (i32.gt_u (local.get $count) (i32.const 1))
      (then
        (local.set $id (call $PyLong_AsLong (i32.load offset=4 (local.get $args))))
        (if (i32.eq (local.get $id) (i32.const -1)) (then (if (call $failed) (then (return (i32.const 0))))))))
    (if (i32.gt_u (local.get $count) (i32.const 2))
      (then
        (local.set $data (call $PyBytes_AsString (i32.load offset=8 (local.get $args))))
        (if (i32.eqz (local.get $data)) (then (return (i32.const 0))))
        (local.set $length (call $PyBytes_Size (i32.load offset=8 (local.get $args))))))
    (local.set $result (call $dispatch (local.get $op) (local.get $id) (local.get $data) (local.get $length)))
    (if (i32.eq (local.get $result) (i32.const -1)) (then (return (global.get $None))))
    (if (i32.ge_s (local.get $result) (i32.const 0))
      (then
        (local.set $object (call $PyBytes_FromStringAndSize (i32.const 0) (local.get $result)))
        (if (i32.eqz (local.get $object)) (then (return (i32.const 0))))
        (call $take (call $PyBytes_AsString (local.get $object)) (local.get $result))
        (return (local.get $object))))
    (local.set $length (i32.sub (i32.const -2) (local.get $result)))
    (local.set $data (call $malloc (i32.add (local.get $length) (i32.const 1))))
    (if (i32.eqz (local.get $data)) (then unreachable))
    (call $take (local.get $data) (local.get $length))
    (i32.store8 (i32.add (local.get $data) (local.get $length)) (i32.const 0))
    (call $PyErr_SetString (i32.load (global.get $PyExc_RuntimeError)) (local.get $data))
    (call $free (local.get $data))
    (i32.const 0))

  (func (export "pump") (param $callable i32) (result i32)
    (local $result i32)
    (local.set $result (call $PyObject_CallNoArgs (local.get $callable)))
    (if (i32.eqz (local.get $result))
      (then (call $PyErr_Print) (return (i32.const 1))))
    (call $Py_DecRef (local.get $result))
    (i32.const 0)))
