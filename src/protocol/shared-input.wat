;; What is done with network input, inside this module's memory.
;; shared-input.ts carries this module assembled, in base64; `npm run wasm` assembles it anew.
(module
  (memory (import "halyard" "memory") 1)
  ;; The masking of RFC 6455 §5.3, 64 bytes at a time.
  ;; Returns something other than 0 when any resulting byte has its top bit set.
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
    (i32.or (i8x16.bitmask (local.get $or)) (i32.and (local.get $tail) (i32.const 128))))
  ;; UTF-8, which must be valid, to UTF-16 at $to, in the order of bytes that x86 and ARM have.
  ;; Returns the index behind it.
  (func (export "decode") (param $at i32) (param $end i32) (param $to i32) (result i32)
    (local $lead i32) (local $code i32) (local $v v128)
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
        (block $notAscii
          (br_if $notAscii (i32.gt_u (i32.add (local.get $at) (i32.const 16)) (local.get $end)))
          (local.set $v (v128.load (local.get $at)))
          (br_if $notAscii (i8x16.bitmask (local.get $v)))
          (v128.store (local.get $to) (i16x8.extend_low_i8x16_u (local.get $v)))
          (v128.store offset=16 (local.get $to) (i16x8.extend_high_i8x16_u (local.get $v)))
          (local.set $at (i32.add (local.get $at) (i32.const 16)))
          (local.set $to (i32.add (local.get $to) (i32.const 32)))
          (br $next))
        (local.set $lead (i32.load8_u (local.get $at)))
        (if (i32.lt_u (local.get $lead) (i32.const 0x80))
          (then
            (i32.store16 (local.get $to) (local.get $lead))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (local.set $to (i32.add (local.get $to) (i32.const 2)))
            (br $next)))
        (local.set $code (i32.and (i32.load8_u offset=1 (local.get $at)) (i32.const 0x3f)))
        (if (i32.lt_u (local.get $lead) (i32.const 0xe0))
          (then
            (i32.store16 (local.get $to) (i32.or
              (i32.shl (i32.and (local.get $lead) (i32.const 0x1f)) (i32.const 6)) (local.get $code)))
            (local.set $at (i32.add (local.get $at) (i32.const 2)))
            (local.set $to (i32.add (local.get $to) (i32.const 2)))
            (br $next)))
        (local.set $code (i32.or (i32.shl (local.get $code) (i32.const 6))
          (i32.and (i32.load8_u offset=2 (local.get $at)) (i32.const 0x3f))))
        (if (i32.lt_u (local.get $lead) (i32.const 0xf0))
          (then
            (i32.store16 (local.get $to) (i32.or
              (i32.shl (i32.and (local.get $lead) (i32.const 0x0f)) (i32.const 12)) (local.get $code)))
            (local.set $at (i32.add (local.get $at) (i32.const 3)))
            (local.set $to (i32.add (local.get $to) (i32.const 2)))
            (br $next)))
        ;; A pair of surrogates for what is above U+FFFF.
        (local.set $code (i32.sub
          (i32.or
            (i32.shl (i32.and (local.get $lead) (i32.const 0x07)) (i32.const 18))
            (i32.or (i32.shl (local.get $code) (i32.const 6))
              (i32.and (i32.load8_u offset=3 (local.get $at)) (i32.const 0x3f))))
          (i32.const 0x10000)))
        (i32.store16 (local.get $to) (i32.or (i32.const 0xd800) (i32.shr_u (local.get $code) (i32.const 10))))
        (i32.store16 offset=2 (local.get $to) (i32.or (i32.const 0xdc00) (i32.and (local.get $code) (i32.const 0x3ff))))
        (local.set $at (i32.add (local.get $at) (i32.const 4)))
        (local.set $to (i32.add (local.get $to) (i32.const 4)))
        (br $next)))
    (local.get $to)))
