;; What is done with network input, inside this module's memory.
;; shared-input.ts carries this module assembled, in base64; `npm run wasm` assembles it anew.
(module
  (memory (import "halyard" "memory") 1)
  ;; Constants are globals: V8 loads those in one instruction, and makes a v128.const anew, in four,
  ;; wherever one stands.
  (global $x03 v128 (v128.const i32x4 0x03030303 0x03030303 0x03030303 0x03030303))
  (global $x07 v128 (v128.const i32x4 0x07070707 0x07070707 0x07070707 0x07070707))
  (global $x40 v128 (v128.const i32x4 0x40404040 0x40404040 0x40404040 0x40404040))
  (global $xbf v128 (v128.const i32x4 0xbfbfbfbf 0xbfbfbfbf 0xbfbfbfbf 0xbfbfbfbf))
  (global $xc0 v128 (v128.const i32x4 0xc0c0c0c0 0xc0c0c0c0 0xc0c0c0c0 0xc0c0c0c0))
  (global $xd7 v128 (v128.const i32x4 0xd7d7d7d7 0xd7d7d7d7 0xd7d7d7d7 0xd7d7d7d7))
  (global $xdc v128 (v128.const i32x4 0xdcdcdcdc 0xdcdcdcdc 0xdcdcdcdc 0xdcdcdcdc))
  (global $xe0 v128 (v128.const i32x4 0xe0e0e0e0 0xe0e0e0e0 0xe0e0e0e0 0xe0e0e0e0))
  (global $xf0 v128 (v128.const i32x4 0xf0f0f0f0 0xf0f0f0f0 0xf0f0f0f0 0xf0f0f0f0))
  (global $xfc v128 (v128.const i32x4 0xfcfcfcfc 0xfcfcfcfc 0xfcfcfcfc 0xfcfcfcfc))
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
  ;; Returns the index behind it; 32 bytes more may be overwritten there, and 18 behind the end read.
  ;; Of every byte is computed which unit it would begin, with the two bytes after it. Those that do
  ;; begin one are then moved together, eight at a time, as the table at 65536 says.
  (func (export "decode") (param $at i32) (param $end i32) (param $to i32) (result i32)
    (local $v v128) (local $v1 v128) (local $v2 v128) (local $three v128) (local $four v128) (local $afterFour v128)
    (local $x v128) (local $low v128) (local $high v128) (local $left i32) (local $begin i32) (local $some i32)
    (block $done
      (loop $next
        (local.set $left (i32.sub (local.get $end) (local.get $at)))
        (br_if $done (i32.le_s (local.get $left) (i32.const 0)))
        (local.set $v (v128.load (local.get $at)))
        (if (i32.eqz (i32.or (i8x16.bitmask (local.get $v)) (i32.lt_s (local.get $left) (i32.const 16))))
          (then
            (v128.store (local.get $to) (i16x8.extend_low_i8x16_u (local.get $v)))
            (v128.store offset=16 (local.get $to) (i16x8.extend_high_i8x16_u (local.get $v)))
            (local.set $at (i32.add (local.get $at) (i32.const 16)))
            (local.set $to (i32.add (local.get $to) (i32.const 32)))
            (br $next)))
        (local.set $v1 (v128.load offset=1 (local.get $at)))
        (local.set $v2 (v128.load offset=2 (local.get $at)))
        ;; $afterFour is the second of four bytes, which begins the low surrogate.
        (local.set $afterFour (local.get $four))
        (local.set $four (i8x16.ge_u (local.get $v) (global.get $xf0)))
        (local.set $afterFour (i8x16.shuffle 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 (local.get $afterFour) (local.get $four)))
        ;; 110yyyyy 10xxxxxx gives 00000yyy yyxxxxxx, 1110zzzz 10yyyyyy 10xxxxxx gives zzzzyyyy yyxxxxxx.
        (local.set $three (v128.or (i8x16.ge_u (local.get $v) (global.get $xe0)) (local.get $afterFour)))
        (local.set $x (v128.bitselect (local.get $v1) (local.get $v) (local.get $three)))
        (local.set $low (v128.bitselect
          (i16x8.shl (local.get $x) (i32.const 6))
          (v128.bitselect (local.get $v2) (local.get $v1) (local.get $three))
          (global.get $xc0)))
        (local.set $high (v128.bitselect
          (v128.and (i16x8.shl (local.get $v) (i32.const 4)) (local.get $three))
          (i16x8.shr_u (local.get $x) (i32.const 2))
          (global.get $xf0)))
        (local.set $begin (i8x16.bitmask (i8x16.gt_s (local.get $v) (global.get $xbf))))
        (if (v128.any_true (v128.or (local.get $four) (local.get $afterFour)))
          (then
            ;; 11110zzz 10yyyyyy 10xx.... begin 110110zz zzyyyyxx less 0x40; 10.. 10..yyyy 10xxxxxx 110111yy yyxxxxxx.
            (local.set $begin (i32.or (local.get $begin) (i8x16.bitmask (local.get $afterFour))))
            (local.set $x (v128.bitselect
              (i16x8.shl (local.get $v1) (i32.const 2)) (i16x8.shr_u (local.get $v2) (i32.const 4)) (global.get $xfc)))
            (local.set $low (v128.bitselect (i8x16.add (local.get $x) (global.get $xc0)) (local.get $low) (local.get $four)))
            (local.set $high (v128.bitselect
              (i8x16.sub
                (i8x16.add (v128.and (local.get $v) (global.get $x07)) (global.get $xd7))
                (i8x16.ge_u (local.get $x) (global.get $x40)))
              (v128.bitselect
                (v128.or (v128.and (local.get $high) (global.get $x03)) (global.get $xdc))
                (local.get $high)
                (local.get $afterFour))
              (local.get $four)))))
        (local.set $x (i8x16.shr_s (local.get $v) (i32.const 7)))
        (local.set $low (v128.bitselect (local.get $low) (local.get $v) (local.get $x)))
        (local.set $high (v128.and (local.get $high) (local.get $x)))
        (if (i32.lt_s (local.get $left) (i32.const 16))
          (then (local.set $begin (i32.and (local.get $begin)
            (i32.sub (i32.shl (i32.const 1) (local.get $left)) (i32.const 1))))))
        (local.set $some (i32.and (local.get $begin) (i32.const 255)))
        (v128.store (local.get $to) (i8x16.swizzle
          (i8x16.shuffle 0 16 1 17 2 18 3 19 4 20 5 21 6 22 7 23 (local.get $low) (local.get $high))
          (v128.load offset=65536 (i32.shl (local.get $some) (i32.const 4)))))
        (local.set $to (i32.add (local.get $to) (i32.shl (i32.popcnt (local.get $some)) (i32.const 1))))
        (local.set $some (i32.shr_u (local.get $begin) (i32.const 8)))
        (v128.store (local.get $to) (i8x16.swizzle
          (i8x16.shuffle 8 24 9 25 10 26 11 27 12 28 13 29 14 30 15 31 (local.get $low) (local.get $high))
          (v128.load offset=65536 (i32.shl (local.get $some) (i32.const 4)))))
        (local.set $to (i32.add (local.get $to) (i32.shl (i32.popcnt (local.get $some)) (i32.const 1))))
        (local.set $at (i32.add (local.get $at) (i32.const 16)))
        (br $next)))
    (local.get $to)))
