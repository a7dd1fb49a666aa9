//! An upload that takes the place of an object. It must not know why the object is replaced.

use std::sync::Arc;

use anyhow::Result;

use super::Shared;
use super::grow::{Limits, S3Upload};
use super::replaced::{DAMAGED, Replaced};
use crate::store::{Part, Stored, Traffic, Upload};

/// An upload that takes the place of an object.
pub(super) struct Replacement {
    upload: Box<S3Upload>,
    replaced: Replaced,
}

impl Replacement {
    pub(super) fn begin(shared: Arc<Shared>, path: &str, limits: Limits) -> Result<Self> {
        let replaced = Replaced::look(&shared, path)?;
        Ok(Self { upload: Box::new(S3Upload::begin(shared, path, limits)?), replaced })
    }
}

impl Upload for Replacement {
    fn write(&mut self, part: Arc<Part>) -> Result<()> {
        self.upload.write(part)
    }

    fn traffic(&self) -> Arc<Traffic> {
        self.upload.traffic()
    }

    fn publish(self: Box<Self>) -> Result<Stored> {
        let stored = self.upload.publish()?;
        self.replaced.clear(DAMAGED)?;
        Ok(stored)
    }

    fn abort(self: Box<Self>) -> Result<()> {
        self.upload.abort()
    }
}
