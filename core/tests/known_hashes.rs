//! Every tagged hash, the hash trees and the server ring against values made by the peer.

#[expect(dead_code, reason = "each test uses its part")]
mod common;

use std::collections::BTreeMap;

use serde_json::Value;
use tallac_core::hash::*;
use tallac_core::hashtree::HashTree;
use tallac_core::secret::{EncryptionKey, LeaseSecret};
use tallac_core::{base32, ring};

#[test]
fn hashes_equal_the_peers() {
    let known: BTreeMap<String, Value> = common::vectors("hashes.json");
    let check = |name: &str, ours: &[u8]| {
        let ours = data_encoding::HEXLOWER.encode(ours);
        assert_eq!(known[name].as_str(), Some(&*ours), "{name}");
    };
    let bytes: Vec<u8> = (0..=255).collect();
    let key = EncryptionKey::try_from(&bytes[..16]).unwrap();
    let secret = LeaseSecret::try_from(&bytes[100..132]).unwrap();
    let tub_id: &[u8; 20] = bytes[200..220].try_into().unwrap();
    let data = b"some content";
    let index = storage_index_hash(&key);

    check("tagged_hash", &tagged_hash(b"tag", data).0);
    check("tagged_pair_hash", &tagged_pair_hash(b"tag", data, b"other").0);
    check("storage_index", &index.0);
    check("block", &block_hash(data).0);
    check("uri_extension", &uri_extension_hash(data).0);
    check("crypttext_segment", &crypttext_segment_hash(data).0);
    for (name, mut hasher) in [
        ("block", block_hasher()),
        ("crypttext", crypttext_hasher()),
        ("crypttext_segment", crypttext_segment_hasher()),
    ] {
        hasher.update(data);
        check(name, &hasher.finish().0);
    }
    for (name, mut hasher) in [
        ("convergence_3_10_1026", convergence_hasher(3, 10, 1026, secret.expose())),
        ("convergence_1_256_131072_no_secret", convergence_hasher(1, 256, 131_072, b"")),
        ("convergence_255_255_9_long_secret", convergence_hasher(255, 255, 9, &[b'x'; 1000])),
    ] {
        hasher.update(data);
        check(name, hasher.finish_key().expose());
    }

    let client_renewal = client_renewal_secret(&secret);
    let client_cancel = client_cancel_secret(&secret);
    let file_renewal = file_renewal_secret(&client_renewal, &index);
    let file_cancel = file_cancel_secret(&client_cancel, &index);
    check("client_renewal", client_renewal.expose());
    check("client_cancel", client_cancel.expose());
    check("file_renewal", file_renewal.expose());
    check("file_cancel", file_cancel.expose());
    check("bucket_renewal", bucket_renewal_secret(&file_renewal, tub_id).expose());
    check("bucket_cancel", bucket_cancel_secret(&file_cancel, tub_id).expose());

    let write_key = mutable_write_key(data);
    let read_key = mutable_read_key(&write_key);
    let master = write_enabler_master(&write_key);
    check("mutable_write_key", write_key.expose());
    check("mutable_read_key", read_key.expose());
    check("mutable_storage_index", &mutable_storage_index(&read_key).0);
    check("mutable_fingerprint", &mutable_fingerprint(data).0);
    check("mutable_data_key", mutable_data_key(key.expose(), &read_key).expose());
    check("write_enabler_master", master.expose());
    check("write_enabler", write_enabler(&master, tub_id).expose());

    check("permute_server", &ring::position(&index, tub_id));
    let servers = (0..12).map(|id: i64| (id, format!("seed {id}").into_bytes(), false));
    assert_eq!(known["ring"], Value::from(ring::permute(&index, servers)));
    assert_eq!(known["base32"], base32::encode(&bytes));

    let leaves: Vec<Hash> = (0..5).map(|leaf| tagged_hash(b"leaf", leaf.to_string().as_bytes())).collect();
    for (name, leaves) in [("tree_of_5", &leaves[..]), ("tree_of_1", &leaves[..1])] {
        let tree = HashTree::from_leaves(leaves.to_vec());
        let nodes: Vec<u8> = tree.nodes().iter().flat_map(|hash| hash.0).collect();
        check(name, &nodes);
    }
}
