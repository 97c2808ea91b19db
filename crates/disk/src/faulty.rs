pub struct FaultyDisk; pub enum Fault {}
