//! A film that a browser can play and seek in, of any size: H.264 without compression, in an MP4 file.
//!
//! Each picture is of one grey, which tells where in the film it is. ITU-T H.264 (7.3: syntax, 9.1:
//! Exp-Golomb codes) has the stream, ISO/IEC 14496-12 and -15 the file.

/// Macroblocks (16 by 16) of a picture, across and down.
const WIDTH: u32 = 40;
const HEIGHT: u32 = 22;
/// Pictures a second.
pub const RATE: u32 = 2;

/// The grey of the picture that is shown for the `index`th half second, as luma.
pub fn grey(index: u32) -> u8 {
    // Not zero, so that no byte of a picture has to be escaped.
    32 + (index * 2 % 192) as u8
}

/// A film of so many pictures; each takes about 340 kB.
pub fn film(pictures: u32) -> Vec<u8> {
    let frames: Vec<Vec<u8>> = (0..pictures).map(picture).collect();
    let sizes: Vec<u32> = frames.iter().map(|frame| frame.len() as u32).collect();
    let kind = atom(b"ftyp", &[&b"isom"[..], &be(512), b"isomiso2avc1mp41"].concat());
    // The place of the pictures is known when the length of what comes before is.
    let before = kind.len() + movie(&sizes, 0).len() + 8;
    let mut file = [kind, movie(&sizes, before as u32)].concat();
    let len: usize = frames.iter().map(Vec::len).sum();
    file.extend(be(len as u32 + 8));
    file.extend(b"mdat");
    frames.iter().for_each(|frame| file.extend(frame));
    file
}

/// Bits of a stream, the highest first.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    free: u32,
}

impl Bits {
    fn put(&mut self, value: u32, count: u32) {
        for bit in (0..count).rev() {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            self.free -= 1;
            *self.bytes.last_mut().expect("just pushed") |= ((value >> bit & 1) as u8) << self.free;
        }
    }

    /// Exp-Golomb: as many zeros as the number has bits after its first one.
    fn golomb(&mut self, value: u32) {
        let bits = 32 - (value + 1).leading_zeros();
        self.put(0, bits - 1);
        self.put(value + 1, bits);
    }

    fn end(mut self) -> Vec<u8> {
        self.put(1, 1);
        self.bytes
    }
}

/// Baseline profile; the order of the pictures is that of the stream.
fn sequence() -> Vec<u8> {
    let mut bits = Bits { bytes: vec![0x67, 66, 0xc0, 31], free: 0 };
    for value in [0, 0, 2, 0] {
        bits.golomb(value);
    }
    bits.put(0, 1);
    bits.golomb(WIDTH - 1);
    bits.golomb(HEIGHT - 1);
    // Whole pictures, no direct inference, no cropping, nothing on display.
    bits.put(0b1000, 4);
    bits.end()
}

fn parameters() -> Vec<u8> {
    let mut bits = Bits { bytes: vec![0x68], free: 0 };
    bits.golomb(0);
    bits.golomb(0);
    bits.put(0, 2);
    for value in [0, 0, 0] {
        bits.golomb(value);
    }
    bits.put(0, 3);
    for value in [0, 0, 0] {
        bits.golomb(value);
    }
    bits.put(0, 3);
    bits.end()
}

/// A picture that needs no other: a slice of macroblocks in plain samples, after its length.
fn picture(index: u32) -> Vec<u8> {
    let mut bits = Bits { bytes: vec![0x65], free: 0 };
    for value in [0, 7, 0] {
        bits.golomb(value);
    }
    bits.put(0, 4);
    bits.golomb(index % 2);
    bits.put(0, 2);
    bits.golomb(0);
    for _ in 0..WIDTH * HEIGHT {
        // I_PCM; its samples begin with a byte.
        bits.golomb(25);
        bits.free = 0;
        bits.bytes.extend([grey(index); 256]);
        bits.bytes.extend([128; 128]);
    }
    let slice = bits.end();
    [be(slice.len() as u32).to_vec(), slice].concat()
}

fn be(value: u32) -> [u8; 4] {
    value.to_be_bytes()
}

fn atom(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    [&be(content.len() as u32 + 8), &name[..], content].concat()
}

/// An atom with version and flags.
fn full(name: &[u8; 4], flags: u32, content: &[u8]) -> Vec<u8> {
    atom(name, &[&be(flags), content].concat())
}

const MATRIX: [u32; 9] = [0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x4000_0000];

fn numbers(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| be(*value)).collect()
}

fn movie(sizes: &[u32], first: u32) -> Vec<u8> {
    let count = sizes.len() as u32;
    let head = [
        numbers(&[0, 0, RATE, count, 0x10000, 0x0100_0000, 0, 0]),
        numbers(&MATRIX),
        numbers(&[0; 6]),
        numbers(&[2]),
    ];
    let size = numbers(&[(WIDTH * 16) << 16, (HEIGHT * 16) << 16]);
    let track = [numbers(&[0, 0, 1, 0, count, 0, 0, 0, 0]), numbers(&MATRIX), size];
    let media = [numbers(&[0, 0, RATE, count]), vec![0x55, 0xc4, 0, 0]];
    let (sequence, parameters) = (sequence(), parameters());
    let config = [
        vec![1, sequence[1], sequence[2], sequence[3], 0xff, 0xe1, 0, sequence.len() as u8],
        sequence.clone(),
        vec![1, 0, parameters.len() as u8],
        parameters,
    ];
    let mut entry = [vec![0; 6], vec![0, 1], vec![0; 16]].concat();
    entry.extend(((WIDTH * 16) as u16).to_be_bytes());
    entry.extend(((HEIGHT * 16) as u16).to_be_bytes());
    entry.extend(numbers(&[0x48_0000, 0x48_0000, 0, 1 << 16]));
    entry.extend([0; 30]);
    entry.extend([0, 24, 0xff, 0xff]);
    entry.extend(atom(b"avcC", &config.concat()));
    let table = [
        full(b"stsd", 0, &[numbers(&[1]), atom(b"avc1", &entry)].concat()),
        full(b"stts", 0, &numbers(&[1, count, 1])),
        full(b"stsc", 0, &numbers(&[1, 1, count, 1])),
        full(b"stsz", 0, &[numbers(&[0, count]), numbers(sizes)].concat()),
        full(b"stco", 0, &numbers(&[1, first])),
    ];
    let data = atom(b"dinf", &full(b"dref", 0, &[numbers(&[1]), full(b"url ", 1, &[])].concat()));
    let information = [full(b"vmhd", 1, &[0; 8]), data, atom(b"stbl", &table.concat())];
    let handler = [numbers(&[0]), b"vide".to_vec(), vec![0; 12], b"film\0".to_vec()].concat();
    let media =
        [full(b"mdhd", 0, &media.concat()), full(b"hdlr", 0, &handler), atom(b"minf", &information.concat())];
    let track = [full(b"tkhd", 3, &track.concat()), atom(b"mdia", &media.concat())];
    atom(b"moov", &[full(b"mvhd", 0, &head.concat()), atom(b"trak", &track.concat())].concat())
}
