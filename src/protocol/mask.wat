;; The masking of RFC 6455 §5.3 for bytes inside this module's memory, 64 at a time.
;; mask.ts carries this module assembled, in base64; `npm run mask` assembles it anew.
;; Returns something other than 0 when any resulting byte has its top bit set.
(module
  (memory (import "halyard" "memory") 1)
  (func (export "mask") (param $at i32) (param $end i32) (param $key i32) (result i32)
    (local $k v128) (local $or v128) (local $v v128) (local $w v128) (local $x v128) (local $y v128) (local $tail i32)
    (local.set $k (i32x4.splat (local.get $key)))
    (block $blocksDone
      (loop $blocks
        (br_if $blocksDone (i32.gt_u (i32.add (local.get $at) (i32.const 64)) (local.get $end)))
        (local.set $v (v128.xor (v128.load (local.get $at)) (local.get $k)))
        (local.set $w (v128.xor (v128.load offset=16 (local.get $at)) (local.get $k)))
        (local.set $x (v128.xor (v128.load offset=32 (local.get $at)) (local.get $k)))
        (local.set $y (v128.xor (v128.load offset=48 (local.get $at)) (local.get $k)))
        (v128.store (local.get $at) (local.get $v))
        (v128.store offset=16 (local.get $at) (local.get $w))
        (v128.store offset=32 (local.get $at) (local.get $x))
        (v128.store offset=48 (local.get $at) (local.get $y))
        (local.set $or (v128.or (local.get $or) (v128.or (v128.or (local.get $v) (local.get $w)) (v128.or (local.get $x) (local.get $y)))))
        (local.set $at (i32.add (local.get $at) (i32.const 64)))
        (br $blocks)))
    (block $vectorsDone
      (loop $vectors
        (br_if $vectorsDone (i32.gt_u (i32.add (local.get $at) (i32.const 16)) (local.get $end)))
        (local.set $v (v128.xor (v128.load (local.get $at)) (local.get $k)))
        (v128.store (local.get $at) (local.get $v))
        (local.set $or (v128.or (local.get $or) (local.get $v)))
        (local.set $at (i32.add (local.get $at) (i32.const 16)))
        (br $vectors)))
    (block $bytesDone
      (loop $bytes
        (br_if $bytesDone (i32.ge_u (local.get $at) (local.get $end)))
        (i32.store8 (local.get $at) (i32.xor (i32.load8_u (local.get $at)) (i32.and (local.get $key) (i32.const 255))))
        (local.set $tail (i32.or (local.get $tail) (i32.load8_u (local.get $at))))
        (local.set $key (i32.rotr (local.get $key) (i32.const 8)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $bytes)))
    (i32.or (i8x16.bitmask (local.get $or)) (i32.and (local.get $tail) (i32.const 128)))))
